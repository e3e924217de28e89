// The `tributary` binary as a person or a script meets it: words, JSON and exit codes.
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/digest.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/server/operator/fake_operator.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {
namespace {

using ::nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

constexpr char kGoodJob[] = R"(job:
  name: tiny
  model: {builtin: {name: mlp, hidden: [8]}}
  train: {optimizer: {sgd: {learning_rate: 0.1}}, batch_size: 16, local_steps: 5}
  scheduler: {sync_round: {clients_per_round: 2}}
  stop: {versions: 4}
)";

struct ToolResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::vector<std::string> Tool(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), BinaryPath("tributary"));
  return arguments;
}

Subprocess::Environment Environment(const std::string& server) {
  return server.empty() ? Subprocess::Environment{}
                        : Subprocess::Environment{{"TRIBUTARY_SERVER", server}};
}

ToolResult RunTributary(const std::vector<std::string>& arguments, const std::string& server = "") {
  const Completed run = RunToEnd(Tool(arguments), Environment(server));
  return {run.exit.code, run.out, run.err};
}

v1::Job JobAt(int64_t version, v1::JobState state) {
  v1::Job job;
  job.set_job_id("j-1");
  job.set_name("tiny");
  job.set_state(state);
  job.set_version(version);
  job.set_stop_versions(4);
  job.set_phase(v1::JOB_PHASE_TRAIN);
  job.set_updates(2 * version);
  job.set_spec_json(R"({"name":"tiny"})");
  job.set_config_digest(std::string(32, '\x01'));
  job.mutable_submitted_at()->set_seconds(1767323045);
  job.mutable_evaluation()->set_version(version);
  job.mutable_evaluation()->set_accuracy(0.2 * static_cast<double>(version));
  job.mutable_evaluation()->set_loss(1.5);
  job.mutable_counters()->set_uplink_bytes(1500000);
  (*job.mutable_counters()->mutable_lost())["timed_out"] = 3;
  return job;
}

v1::Client Phone() {
  v1::Client client;
  client.set_client_id("phone-7");
  client.set_state("working");
  client.set_updates(12);
  client.set_uplink_bytes(2500);
  return client;
}

class ToolTest : public ::testing::Test {
 protected:
  ToolResult Run(const std::vector<std::string>& arguments) {
    return RunTributary(arguments, service_.address());
  }

  FakeOperator service_;
  TempDir dir_;
};

TEST_F(ToolTest, EveryCommandHelpsWithAnExample) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"job"},
                                                          {"job", "submit"},
                                                          {"job", "validate"},
                                                          {"job", "schema"},
                                                          {"job", "list"},
                                                          {"job", "show"},
                                                          {"job", "watch"},
                                                          {"job", "pause"},
                                                          {"job", "resume"},
                                                          {"job", "next-task"},
                                                          {"job", "cancel"},
                                                          {"model"},
                                                          {"model", "list"},
                                                          {"model", "export"},
                                                          {"client"},
                                                          {"client", "list"},
                                                          {"client", "show"},
                                                          {"compare"},
                                                          {"doctor"}};
  for (std::vector<std::string> command : commands) {
    command.emplace_back("--help");
    const ToolResult result = Run(command);
    EXPECT_EQ(result.exit_code, 0) << ::testing::PrintToString(command);
    EXPECT_THAT(result.out, HasSubstr("Example: tributary ")) << ::testing::PrintToString(command);
  }
  EXPECT_THAT(Run({"--version"}).out, StartsWith("tributary 0."));
}

TEST_F(ToolTest, UsageErrorsNameTheNearestCommand) {
  for (const std::vector<std::string>& line : std::vector<std::vector<std::string>>{
           {},
           {"job"},
           {"job", "show"},
           {"job", "list", "extra"},
           {"compare"},
           {"--colour"},
           {"model", "export", "j-1"},
           {"model", "export", "j-1", "--out", "f", "--version", "-3"},
           {"job", "list", "--cert", "only.pem"},
           {"--server", "far.example:7433", "job", "list"}}) {
    const ToolResult result = Run(line);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(line) << result.out;
    EXPECT_THAT(result.err, StartsWith("error: "));
    EXPECT_THAT(result.out, IsEmpty());
  }
  EXPECT_THAT(Run({"jbo", "list"}).err, HasSubstr("'jbo'; did you mean 'job'?"));
  EXPECT_THAT(Run({"job", "sumbit", "f"}).err, HasSubstr("'sumbit'; did you mean 'submit'?"));
  EXPECT_THAT(Run({"--server", "far.example:7433", "job", "list"}).err, HasSubstr("TLS"));
}

TEST_F(ToolTest, ServerThatIsNotThere) {
  const ToolResult result = RunTributary({"--server", "127.0.0.1:1", "job", "list"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("TRIBUTARY_SERVER")));
  EXPECT_EQ(RunTributary({"--server", "127.0.0.1:1", "job", "watch", "j-1"}).exit_code, 4);
  EXPECT_EQ(RunTributary({"--server", "127.0.0.1:1", "doctor"}).exit_code, 4);
}

TEST_F(ToolTest, ServerThatRefuses) {
  service_.refuse_all = grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "operators only");
  EXPECT_EQ(Run({"job", "list"}).exit_code, 5);
  EXPECT_EQ(Run({"client", "list"}).exit_code, 5);
  EXPECT_THAT(Run({"job", "watch", "j-1"}).err, HasSubstr("operators only"));
  service_.refuse_all = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "who are you?");
  EXPECT_EQ(Run({"model", "list", "j-1"}).exit_code, 5);
}

TEST_F(ToolTest, UnknownNamesFail) {
  service_.states = {JobAt(1, v1::JOB_STATE_RUNNING)};
  for (const char* command : {"show", "watch", "pause", "resume", "next-task", "cancel"}) {
    const ToolResult result = Run({"job", command, "j-9"});
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_THAT(result.err, HasSubstr("'j-9'"));
  }
  EXPECT_EQ(Run({"client", "show", "nobody"}).exit_code, 1);
}

TEST_F(ToolTest, JobValidate) {
  const std::string good = dir_.Write("good.yaml", kGoodJob);
  const ToolResult result = Run({"job", "validate", good, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json answer = json::parse(result.out);
  EXPECT_EQ(answer["spec"]["name"], "tiny");
  EXPECT_EQ(answer["config_digest"].get<std::string>().size(), 64U);

  const ToolResult bad =
      Run({"job", "validate", dir_.Write("bad.yaml", std::string(kGoodJob) + "  stopp: 1\n")});
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.err, AllOf(HasSubstr("bad.yaml:7:"), HasSubstr("did you mean 'stop'?")));
  EXPECT_EQ(Run({"job", "validate", dir_.File("missing.yaml")}).exit_code, 3);
}

TEST_F(ToolTest, JobSchemaIsJson) {
  const ToolResult result = Run({"job", "schema"});
  ASSERT_EQ(result.exit_code, 0);
  EXPECT_TRUE(json::parse(result.out)["properties"].contains("job"));
}

TEST_F(ToolTest, SubmitSendsTheCanonicalSpecAndItsFiles) {
  const ParamVector initial = MakeParams(FlatLayout(2), {1, 2});
  ASSERT_THAT(WriteSafetensors(initial, dir_.File("first.safetensors")), IsOk());
  std::string text = kGoodJob;
  text.replace(text.find("model: {"), 8, "model: {initial: first.safetensors, ");
  const ToolResult result = Run({"job", "submit", dir_.Write("job.yaml", text)});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "j-1\n");

  ASSERT_EQ(service_.submitted().size(), 1U);
  const v1::SubmitJobRequest sent = service_.submitted().front();
  EXPECT_FALSE(sent.request_id().empty());
  EXPECT_EQ(sent.job().config_digest(), Sha256::Of(sent.job().spec_json()).ToBytes());
  EXPECT_EQ(json::parse(sent.job().spec_json())["stop"]["versions"], 4);
  const std::string file = ReadFile(dir_.File("first.safetensors"));
  EXPECT_EQ(sent.job().initial_model().bytes(), file.size());
  EXPECT_THAT(service_.files(), ElementsAre(Pair(Sha256::Of(file).ToBytes(), file)));
  EXPECT_EQ(sent.job().initial_model().sha256(), Sha256::Of(file).ToBytes());
}

// From where it broke, or from the beginning if the server has started again meanwhile.
TEST_F(ToolTest, AFileOfManyPiecesGoesOnWhereItsTransferBroke) {
  ParamVector initial = MakeParams(FlatLayout(1'000'000), std::vector<float>(1'000'000, 0.5F));
  std::string text = kGoodJob;
  text.replace(text.find("model: {"), 8, "model: {initial: first.safetensors, ");
  for (const bool forgets : {false, true}) {
    SCOPED_TRACE(forgets);
    initial.values()[0] = forgets ? 1 : 2;  // another file
    ASSERT_THAT(WriteSafetensors(initial, dir_.File("first.safetensors")), IsOk());
    service_.put_breaks_at = uint64_t{2} << 20;
    service_.put_forgets = forgets;
    const ToolResult result = Run({"job", "submit", dir_.Write("job.yaml", text)});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("the transfer broke at byte 2097152"),
                                  HasSubstr("the line broke"), HasSubstr("going on from there")));
    const std::string file = ReadFile(dir_.File("first.safetensors"));
    EXPECT_THAT(service_.files(), Contains(Pair(Sha256::Of(file).ToBytes(), file)));
  }
}

TEST_F(ToolTest, SubmitSendsAProgramByItsDigest) {
  const std::string program("code\0and values", 15);
  dir_.Write("models/my.pt", program);
  std::string text = kGoodJob;
  const size_t model = text.find("model: {");
  text.replace(model, text.find('\n', model) - model, "model: {torchscript: models/my.pt}");
  const std::string path = dir_.Write("job.yaml", text);
  ASSERT_EQ(Run({"job", "submit", path}).exit_code, 0);
  ASSERT_EQ(service_.submitted().size(), 1U);
  const v1::JobEnvelope sent = service_.submitted().front().job();
  EXPECT_EQ(json::parse(sent.spec_json())["model"],
            (json{{"program", {{"sha256", Sha256::Of(program).ToHex()}, {"bytes", 15}}}}));
  EXPECT_FALSE(sent.has_initial_model());
  EXPECT_THAT(service_.files(), ElementsAre(Pair(Sha256::Of(program).ToBytes(), program)));
  EXPECT_EQ(Run({"job", "validate", path}).exit_code, 0);

  dir_.Write("models/my.pt", "");
  const ToolResult empty = Run({"job", "submit", path});
  EXPECT_EQ(empty.exit_code, 3);
  EXPECT_THAT(empty.err, HasSubstr("job.model.torchscript: is empty"));
}

TEST_F(ToolTest, SubmitThatIsRefused) {
  EXPECT_EQ(Run({"job", "submit", dir_.Write("bad.yaml", "job: {}\n")}).exit_code, 3);
  EXPECT_THAT(service_.submitted(), IsEmpty());
  service_.refuse_all = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "job.codec: no");
  const ToolResult result = Run({"job", "submit", dir_.Write("job.yaml", kGoodJob)});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("job.codec: no"));
}

TEST_F(ToolTest, WatchPrintsPlainLinesAndEndsWithTheJob) {
  service_.states = {JobAt(1, v1::JOB_STATE_RUNNING), JobAt(1, v1::JOB_STATE_RUNNING),
                     JobAt(2, v1::JOB_STATE_RUNNING), JobAt(4, v1::JOB_STATE_DONE)};
  const ToolResult result = Run({"job", "submit", dir_.Write("job.yaml", kGoodJob), "--watch"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "j-1\n"
            "[######------------------]  1/4  accuracy 20.0 %  loss 1.5000  updates 2  lost 3\n"
            "[########################]  4/4  accuracy 80.0 %  loss 1.5000  updates 8  lost 3"
            "  done\n"
            "j-1 done\n");
}

TEST_F(ToolTest, WatchAsJsonIsOneObjectALine) {
  service_.states = {JobAt(1, v1::JOB_STATE_RUNNING), JobAt(4, v1::JOB_STATE_DONE)};
  const ToolResult result = Run({"job", "watch", "j-1", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  const size_t line_end = result.out.find('\n');
  EXPECT_EQ(json::parse(result.out.substr(0, line_end))["version"], 1);
  EXPECT_EQ(json::parse(result.out.substr(line_end + 1))["state"], "done");
}

TEST_F(ToolTest, WatchTellsThatTheJobFailed) {
  v1::Job failed = JobAt(2, v1::JOB_STATE_FAILED);
  failed.set_reason("the disk is full");
  service_.states = {failed};
  const ToolResult result = Run({"job", "watch", "j-1"});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_THAT(result.err, HasSubstr("the disk is full"));
}

TEST_F(ToolTest, WatchThatTheServerDropsIsNoSuccess) {
  service_.states = {JobAt(2, v1::JOB_STATE_RUNNING)};
  EXPECT_EQ(Run({"job", "watch", "j-1"}).exit_code, 4);
}

TEST_F(ToolTest, InterruptionEndsAWatch) {
  service_.states = {JobAt(1, v1::JOB_STATE_RUNNING)};
  service_.watch_hangs = true;
  int watchers = 0;
  for (const int signal : {SIGINT, SIGTERM}) {
    TRIB_ASSERT_OK_AND_ASSIGN(auto watch, Subprocess::Start(Tool({"job", "watch", "j-1"}),
                                                            Environment(service_.address())));
    service_.AwaitWatchers(++watchers);
    watch->Signal(signal);
    EXPECT_THAT(watch->Wait(absl::Seconds(30)), IsOkAndHolds(Exit{.code = 130}));
  }
}

TEST_F(ToolTest, ListAndShow) {
  service_.states = {JobAt(2, v1::JOB_STATE_RUNNING)};
  EXPECT_EQ(Run({"job", "list"}).out,
            "JOB  NAME  STATE    PHASE     VERSION  ACCURACY  AVERAGE  UPDATES  LOST  SUBMITTED\n"
            "j-1  tiny  running  training  2/4      40.0 %    -        4        3     "
            "2026-01-02T03:04:05Z\n");
  EXPECT_THAT(Run({"job", "show", "j-1"}).out,
              AllOf(HasSubstr("3, timed_out 3"), HasSubstr("1.5 MB")));
  const json shown = json::parse(Run({"--json", "job", "show", "j-1"}).out);
  EXPECT_EQ(shown["counters"]["lost"]["timed_out"], 3);
  EXPECT_EQ(shown["spec"]["name"], "tiny");
  EXPECT_EQ(shown["submitted_at"], "2026-01-02T03:04:05Z");
  EXPECT_EQ(shown["ended_at"], json());
  EXPECT_EQ(json::parse(Run({"job", "list", "--json"}).out)[0], shown);
}

// Learns the second of five tasks; the first one's accuracy went from 90 to 80 %.
v1::Job JobWithTasks(v1::JobPhase phase) {
  v1::Job job = JobAt(2, v1::JOB_STATE_RUNNING);
  job.set_phase(phase);
  job.set_contributions(3);
  job.set_contributions_asked(8);
  job.set_task(1);
  job.set_tasks(5);
  job.add_task_accuracies()->add_accuracy(0.9);
  v1::TaskAccuracies* const second = job.add_task_accuracies();
  second->add_accuracy(0.8);
  second->add_accuracy(0.7);
  job.set_average_accuracy(0.75);
  job.set_forgetting(0.1);
  job.set_server_rate(1.25);
  job.set_client_rate(0.5);
  return job;
}

TEST_F(ToolTest, TaskAndPhaseAreShown) {
  service_.states = {JobWithTasks(v1::JOB_PHASE_SKETCH)};
  EXPECT_THAT(Run({"job", "list"}).out,
              AllOf(HasSubstr("  task 2 of 5, collecting sketches (3 of 8)  2/4 "),
                    HasSubstr("  75.0 %  ")));
  EXPECT_THAT(Run({"job", "show", "j-1"}).out,
              AllOf(HasSubstr("task 2 of 5, collecting sketches (3 of 8)\n"),
                    HasSubstr("80.0 % 70.0 %, average 75.0 %, forgotten 10.0 %\n"),
                    HasSubstr("server 1.25, clients 0.5\n")));
  const json shown = json::parse(Run({"job", "show", "j-1", "--json"}).out);
  EXPECT_EQ(shown["phase"], "sketch");
  EXPECT_EQ(shown["contributions"], 3);
  EXPECT_EQ(shown["contributions_asked"], 8);
  EXPECT_EQ(shown["task_accuracies"], json({{0.9}, {0.8, 0.7}}));
  EXPECT_EQ(shown["average_accuracy"], 0.75);
  EXPECT_EQ(shown["forgetting"], 0.1);
  EXPECT_EQ(shown["server_rate"], 1.25);
  EXPECT_EQ(shown["client_rate"], 0.5);

  v1::Job ended = JobWithTasks(v1::JOB_PHASE_TRAIN);
  ended.set_state(v1::JOB_STATE_DONE);
  service_.states = {JobWithTasks(v1::JOB_PHASE_END_TASK), ended};
  EXPECT_THAT(Run({"job", "watch", "j-1"}).out,
              AllOf(HasSubstr("  task 2 of 5, ending the task  tasks 80.0 % 70.0 %\n"),
                    HasSubstr("  done  tasks 80.0 % 70.0 %\n")));
  EXPECT_THAT(Run({"job", "show", "j-1"}).out, HasSubstr("task 2 of 5\n"));
}

TEST_F(ToolTest, PauseResumeNextTaskCancel) {
  service_.states = {JobAt(2, v1::JOB_STATE_RUNNING)};
  EXPECT_EQ(Run({"job", "pause", "j-1"}).out, "j-1 is paused\n");
  EXPECT_EQ(Run({"job", "resume", "j-1"}).out, "j-1 is running\n");
  EXPECT_EQ(Run({"job", "next-task", "j-1"}).out, "j-1 is running\n");
  EXPECT_EQ(json::parse(Run({"job", "cancel", "j-1", "--json"}).out)["state"], "cancelled");
  EXPECT_THAT(service_.verbs(),
              ElementsAre("pause j-1", "resume j-1", "next-task j-1", "cancel j-1"));
}

TEST_F(ToolTest, Clients) {
  service_.clients = {Phone()};
  EXPECT_THAT(Run({"client", "list"}).out, HasSubstr("phone-7  trains  working"));
  EXPECT_THAT(Run({"client", "show", "phone-7"}).out, HasSubstr("2.5 kB"));
  EXPECT_EQ(json::parse(Run({"client", "show", "phone-7", "--json"}).out)["updates"], 12);
}

TEST_F(ToolTest, ModelList) {
  service_.states = {JobAt(2, v1::JOB_STATE_RUNNING)};
  v1::ModelVersion version;
  version.set_version(3);
  version.set_model_digest(std::string(32, '\xab'));
  service_.versions = {version};
  EXPECT_THAT(Run({"model", "list", "j-1"}).out,
              AllOf(HasSubstr("not kept"), HasSubstr("abababababab\n")));
  const json list = json::parse(Run({"model", "list", "j-1", "--json"}).out);
  EXPECT_EQ(list[0]["version"], 3);
  EXPECT_EQ(list[0]["evaluation"], json());
}

class ExportTest : public ToolTest {
 protected:
  ExportTest() {
    service_.states = {JobAt(3, v1::JOB_STATE_DONE)};
    service_.model = RandomParams(TinyLayout(), 1);
  }
  ToolResult Export() { return Run({"model", "export", "j-1", "--out", dir_.File("m")}); }
};

TEST_F(ExportTest, WritesTheModelAsItIs) {
  const ToolResult result = Run({"model", "export", "j-1", "--out", dir_.File("m"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string digest = service_.model.ComputeDigest().ToHex();
  EXPECT_EQ(json::parse(result.out)["model_digest"], digest);
  std::map<std::string, std::string> metadata;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector read, ReadSafetensors(dir_.File("m"), &metadata));
  EXPECT_THAT(read, ParamsNear(service_.model, 0));
  EXPECT_EQ(read.layout()->digest(), service_.model.layout()->digest());
  EXPECT_EQ(metadata["tributary.model_digest"], digest);
  EXPECT_EQ(metadata["tributary.version"], "3");
  EXPECT_FALSE(std::filesystem::exists(dir_.File("m.part")));
}

TEST_F(ExportTest, GoesOnWhereTheStreamBroke) {
  service_.breaks_at = 16;
  const ToolResult result = Export();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(service_.exported().size(), 2U);
  EXPECT_EQ(service_.exported()[0].version(), -1);
  EXPECT_EQ(service_.exported()[1].version(), 3);
  EXPECT_EQ(service_.exported()[1].offset(), 16U);
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector read, ReadSafetensors(dir_.File("m")));
  EXPECT_THAT(read, ParamsNear(service_.model, 0));
}

TEST_F(ExportTest, LeavesNothingBehindWhenTheDigestDiffers) {
  service_.lies_about_digest = true;
  const ToolResult result = Export();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("SHA-256"));
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

TEST_F(ExportTest, RefusesAFileThatItCannotWrite) {
  const ToolResult result = Run({"model", "export", "j-1", "--out", dir_.File("no/such/m")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("No such file"));
  EXPECT_THAT(service_.exported(), IsEmpty());
}

class JobExportTest : public ToolTest {
 protected:
  JobExportTest() {
    service_.states = {JobAt(3, v1::JOB_STATE_DONE)};
    service_.model = RandomParams(TinyLayout(), 1);
    service_.job_files = {{"events.jsonl", "{}\n"},
                          {"metrics.csv", ""},
                          {"updates/1.update", "one"},
                          {"updates/2.update", std::string(40, '2')},
                          {"summary.json", "{\"name\": 1}\n"}};
  }
  std::string Out(const std::string& name = "") const {
    return dir_.File("runs/j-1") + (name.empty() ? "" : "/" + name);
  }
  ToolResult Export() { return Run({"job", "export", "j-1", "--out", Out()}); }
  void ExpectWhole() const {
    for (const auto& [name, content] : service_.job_files) {
      EXPECT_EQ(ReadFile(Out(name)), content) << name;
    }
    TRIB_ASSERT_OK_AND_ASSIGN(ParamVector read, ReadSafetensors(Out("model.safetensors")));
    EXPECT_THAT(read, ParamsNear(service_.model, 0));
  }
};

TEST_F(JobExportTest, WritesEveryFile) {
  const ToolResult result = Run({"--json", "job", "export", "j-1", "--out", Out()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ExpectWhole();
  const json said = json::parse(result.out);
  EXPECT_EQ(said["version"], 3);
  EXPECT_EQ(said["kept_files"], 2);
  EXPECT_EQ(said["bytes"], 3 + 3 + 40 + 12);
  EXPECT_EQ(service_.exported().at(0).version(), 3);
  EXPECT_THAT(Export().out, HasSubstr("j-1 at version 3 -> "));
}

TEST_F(JobExportTest, GoesOnWithTheFileInWhichTheStreamBroke) {
  service_.breaks_at = 16;
  const ToolResult result = Export();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  ExpectWhole();
  EXPECT_THAT(result.err, HasSubstr("updates/2.update"));
  ASSERT_EQ(service_.exported_jobs().size(), 2U);
  EXPECT_THAT(service_.exported_jobs()[1].have(), ElementsAre("updates/1.update"));
}

TEST_F(JobExportTest, AJobWithoutAVersionHasNoModel) {
  service_.model = ParamVector();
  ASSERT_EQ(Export().exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(Out("model.safetensors")));
  EXPECT_TRUE(std::filesystem::exists(Out("summary.json")));
}

TEST_F(JobExportTest, StartsAgainWhenTheModelIsGoneMeanwhile) {
  service_.forgets_model_once = true;
  ASSERT_EQ(Export().exit_code, 0);
  ExpectWhole();
  EXPECT_EQ(service_.exported_jobs().size(), 2U);
}

TEST_F(JobExportTest, AnEarlierExportLeavesNothing) {
  ASSERT_EQ(Export().exit_code, 0);
  service_.job_files = {{"events.jsonl", "other\n"}, {"../out/of/place", "x"}};
  EXPECT_EQ(Export().exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(Out("summary.json")));
  EXPECT_FALSE(std::filesystem::exists(Out("updates/1.update")));
  EXPECT_EQ(ReadFile(Out("events.jsonl")), "other\n");
}

TEST_F(JobExportTest, GivesUpWhenItGetsNoFurther) {
  service_.job_files.pop_back();  // every stream ends without the summary
  const ToolResult result = Export();
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("the stream ended early"));
  EXPECT_FALSE(std::filesystem::exists(Out("summary.json")));
}

TEST_F(JobExportTest, NoFileLeavesTheFolder) {
  for (const char* name : {"../escaped", "/tmp/escaped", "updates/../../escaped", "a/b/c", ""}) {
    service_.job_files = {{name, "x"}, {"summary.json", "{}"}};
    const ToolResult result = Export();
    EXPECT_EQ(result.exit_code, 1) << name;
    EXPECT_THAT(result.err, HasSubstr("out of place"));
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.File("runs/escaped")));
}

TEST_F(JobExportTest, AnUnknownJobIsRefused) {
  EXPECT_NE(Run({"job", "export", "j-9", "--out", Out()}).exit_code, 0);
}

TEST_F(ToolTest, DoctorChecksTheMachine) {
  const ToolResult result = Run({"doctor", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  const json findings = json::parse(result.out);
  EXPECT_EQ(findings.back()["subject"], "server");
  EXPECT_EQ(findings.back()["grade"], "ok");
}

}  // namespace
}  // namespace tributary::test
