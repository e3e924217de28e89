// The real tributary-sim, as a user meets it.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/golden/golden.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Completed;
using test::Exit;
using test::IsOk;
using test::IsOkAndHolds;
using test::ReadFile;
using test::Subprocess;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

using Args = std::vector<std::string>;

Args Command(Args args) {
  args.insert(args.begin(), test::BinaryPath("tributary-sim"));
  return args;
}

class CliTest : public ::testing::Test {
 protected:
  static Completed Sim(const Args& args) { return test::RunToEnd(Command(args)); }
  // A run to its end, without an error.
  nlohmann::json RunTo(const std::string& out, const Args& more = {}) {
    Args args = {"run", file_, "--out", out, "--quiet"};
    args.insert(args.end(), more.begin(), more.end());
    const Completed done = Sim(args);
    EXPECT_EQ(done.exit, Exit{.code = 0}) << done.err;
    EXPECT_THAT(done.err, IsEmpty());
    return nlohmann::json::parse(ReadFile(out + "/summary.json"));
  }

  const test::TempDir dir_;
  std::string file_ = dir_.Write("small.yaml", test::kSmallWorld);
  const std::string out_ = dir_.File("out");
};

TEST_F(CliTest, EveryCommandHelpsWithAnExample) {
  for (const Args& command : {Args{}, {"run"}, {"validate"}, {"evaluate"}, {"replay"}, {"list"}}) {
    Args args = command;
    args.emplace_back("--help");
    const Completed done = Sim(args);
    EXPECT_EQ(done.exit, Exit{.code = 0});
    EXPECT_THAT(done.out, AllOf(HasSubstr("Usage:"), HasSubstr("Example:\n  tributary-sim ")));
    EXPECT_THAT(done.err, IsEmpty());
  }
  EXPECT_THAT(Sim({"--version"}).out, MatchesRegex("tributary-sim [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(CliTest, UsageErrors) {
  for (const Args& args : {Args{},
                           {"walk"},
                           {"run", file_},
                           {"run", "--out", out_},
                           {"run", file_, "--out", out_, "--threads", "0"},
                           {"run", file_, "--out", out_, "--fast"},
                           {"validate"},
                           {"evaluate", file_},
                           {"evaluate", "model.safetensors", file_, "--task", "-1"},
                           {"replay"},
                           {"list"},
                           {"list", "clients"}}) {
    const Completed done = Sim(args);
    EXPECT_EQ(done.exit, Exit{.code = 2}) << ::testing::PrintToString(args);
    EXPECT_THAT(done.err, Not(IsEmpty()));
    EXPECT_THAT(done.out, IsEmpty());
  }
}

TEST_F(CliTest, ListsEachKind) {
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"schedulers", "sync_round"}, {"aggregators", "fedavg"}, {"transforms", "clip"},
      {"optimizers", "adam"},       {"codecs", "fp16"},        {"models", "cnn"},
      {"partitioners", "dirichlet"}};
  for (const auto& [kind, member] : kinds) {
    EXPECT_THAT(Sim({"list", kind}).out, HasSubstr(member));
    const auto list = nlohmann::json::parse(Sim({"list", kind, "--json"}).out);
    std::vector<std::string> names;
    for (const auto& entry : list) {
      names.push_back(entry.at("name"));
      EXPECT_FALSE(entry.at("doc").get<std::string>().empty()) << names.back();
    }
    EXPECT_THAT(names, Contains(member));
  }
}

TEST_F(CliTest, RunLeavesItsFilesAndReplayDecidesTheSame) {
  const Completed run = Sim({"run", file_, "--out", out_});
  EXPECT_EQ(run.exit, Exit{.code = 0});
  for (const char* name : {"summary.json", "metrics.csv", "events.jsonl", "model.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(absl::StrCat(out_, "/", name))) << name;
  }
  const auto summary = nlohmann::json::parse(ReadFile(out_ + "/summary.json"));
  EXPECT_EQ(summary["versions"], 6);
  EXPECT_THAT(run.out, AllOf(HasSubstr(summary["model_digest"].get<std::string>()),
                             HasSubstr("accuracy"), HasSubstr(out_)));
  // No terminal: plain lines.
  EXPECT_THAT(run.err, AllOf(HasSubstr("6/6"), Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));

  const std::string events = out_ + "/events.jsonl";
  const Completed same = Sim({"replay", events});
  EXPECT_EQ(same.exit, Exit{.code = 0}) << same.err;
  EXPECT_THAT(same.out, HasSubstr("the same decisions again"));
  const std::string tampered = dir_.Write(
      "tampered.jsonl",
      absl::StrReplaceAll(ReadFile(events), {{"\"kind\":\"train\"", "\"kind\":\"evaluate\""}}));
  const Completed other = Sim({"replay", tampered});
  EXPECT_EQ(other.exit, Exit{.code = 1}) << other.out;
  EXPECT_THAT(other.err, HasSubstr("tampered.jsonl:"));
  EXPECT_EQ(Sim({"replay", dir_.File("none.jsonl")}).exit, Exit{.code = 3});
}

TEST_F(CliTest, TheSeedAndTheSettingsOfTheCommandLineWin) {
  const auto plain = RunTo(out_);
  const auto again = RunTo(dir_.File("again"), {"--threads", "3"});
  EXPECT_EQ(plain["model_digest"], again["model_digest"]);
  const auto other = RunTo(dir_.File("other"), {"--seed", "4"});
  EXPECT_EQ(other["seed"], 4);
  EXPECT_NE(plain["model_digest"], other["model_digest"]);
  const auto shorter = RunTo(dir_.File("short"), {"--set", "job.stop.versions=2", "--set",
                                                  "job.scheduler.sync_round.clients_per_round=3"});
  EXPECT_EQ(shorter["versions"], 2);
  EXPECT_EQ(shorter["updates"], 6);
}

TEST_F(CliTest, JsonIsTheSummary) {
  const Completed run = Sim({"run", file_, "--out", out_, "--quiet", "--json"});
  EXPECT_THAT(run.err, IsEmpty());
  EXPECT_EQ(run.out, ReadFile(out_ + "/summary.json"));
}

TEST_F(CliTest, BadFilesAreRefusedByBothCommands) {
  const std::string folder = test::SourcePath("tests/golden/bad_jobs");
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path();
    if (!absl::EndsWith(path, ".sim.yaml")) continue;
    ++files;
    // Side by side: most of the time is loading LibTorch.
    const auto validate = Subprocess::Start(Command({"validate", path}));
    const auto run = Subprocess::Start(Command({"run", path, "--out", out_}));
    for (const auto* command : {&validate, &run}) {
      ASSERT_THAT(*command, IsOk());
      Subprocess& process = ***command;
      EXPECT_THAT(process.Wait(absl::Minutes(1)), IsOkAndHolds(Exit{.code = 3})) << path;
      EXPECT_THAT(process.err(), StartsWith(absl::StrCat("error: ", path, ":")));
      EXPECT_THAT(process.out(), IsEmpty());
    }
  }
  EXPECT_GE(files, 25);
  EXPECT_FALSE(std::filesystem::exists(out_)) << "refused before any work";
  const Completed absent = Sim({"run", "/no/such.yaml", "--out", out_});
  EXPECT_EQ(absent.exit, Exit{.code = 3});
  EXPECT_THAT(absent.err, HasSubstr("/no/such.yaml"));
  EXPECT_EQ(Sim({"run", file_, "--out", out_, "--set", "job.stop.versoins=3"}).exit,
            Exit{.code = 3});
}

TEST_F(CliTest, ValidateSaysThatAFileIsGood) {
  const Completed done = Sim({"validate", file_});
  EXPECT_EQ(done.exit, Exit{.code = 0});
  EXPECT_THAT(done.out, HasSubstr("small.yaml: valid"));
}

TEST_F(CliTest, EvaluatesAModelOnTheWholeTestSet) {
  const auto summary = RunTo(out_);
  const std::string model = out_ + "/model.safetensors";
  const Completed done = Sim({"evaluate", model, file_, "--json"});
  EXPECT_EQ(done.exit, Exit{.code = 0}) << done.err;
  const auto json = nlohmann::json::parse(done.out);
  EXPECT_EQ(json["all"]["examples"], 200);
  EXPECT_EQ(json["all"]["loss"], summary["final"]["loss"]);
  EXPECT_EQ(json["all"]["accuracy"], summary["final"]["accuracy"]);
  EXPECT_THAT(json["clients"], IsEmpty());  // a part of the test set is nobody's
}

TEST_F(CliTest, EvaluatesAModelOnEachClientsPart) {
  file_ = dir_.Write(
      "natural.yaml",
      absl::StrReplaceAll(test::kSmallWorld, {{"partition: {dirichlet: {alpha: 0.5}}",
                                               "natural_clients: 9\n    partition: natural"}}));
  RunTo(out_);
  const std::string model = out_ + "/model.safetensors";
  const auto json = nlohmann::json::parse(Sim({"evaluate", model, file_, "--json"}).out);
  ASSERT_EQ(json["clients"].size(), 8) << "the last owner is no client";
  int64_t examples = 0;
  for (size_t i = 0; i < 8; ++i) {
    const auto& client = json["clients"][i];
    EXPECT_EQ(client["name"], absl::StrCat(i));
    EXPECT_GT(client["loss"], 0);
    examples += client["examples"].get<int64_t>();
  }
  EXPECT_LT(examples, 200);
  EXPECT_GT(examples, 150);
  EXPECT_THAT(Sim({"evaluate", model, file_}).out,
              AllOf(StartsWith("client  examples  loss"), HasSubstr("\nall     200 ")));
}

TEST_F(CliTest, EvaluateRefusesWhatDoesNotFit) {
  RunTo(out_);
  const std::string model = out_ + "/model.safetensors";
  const std::vector<std::pair<Args, std::string>> cases = {
      {{dir_.File("none"), file_}, "none"},
      {{dir_.Write("bad", "text"), file_}, "bad"},
      {{model, file_, "--set", "simulation.data.classes=5"}, "job.model: "},
      {{model, file_, "--task", "1"}, "task is 1; allowed: 0 to 0"}};
  for (const auto& [args, message] : cases) {
    Args command = {"evaluate"};
    command.insert(command.end(), args.begin(), args.end());
    const Completed done = Sim(command);
    EXPECT_EQ(done.exit, Exit{.code = 3}) << message;
    EXPECT_THAT(done.err, AllOf(StartsWith("error: "), HasSubstr(message)));
    EXPECT_THAT(done.out, IsEmpty());
  }
}

TEST_F(CliTest, AJobThatCannotGoOnFails) {
  const Completed done = Sim({"run", file_, "--out", out_, "--quiet", "--set",
                              "job.train.optimizer={sgd: {learning_rate: 3.0e38}}", "--set",
                              "job.train.local_steps=50"});
  EXPECT_EQ(done.exit, Exit{.code = 1});
  EXPECT_THAT(done.err, HasSubstr("in a row was usable"));
  EXPECT_FALSE(std::filesystem::exists(out_ + "/summary.json"));
}

class InterruptTest : public CliTest, public ::testing::WithParamInterface<int> {};

TEST_P(InterruptTest, EndsALongRunAndLeavesNoSummary) {
  RunTo(out_);  // an earlier run's summary must go, too
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Subprocess> run,
                            Subprocess::Start(Command({"run", file_, "--out", out_, "--set",
                                                       "job.stop.versions=100000000"})));
  ASSERT_THAT(run->WaitForLine("accuracy", absl::Minutes(1)), IsOk());
  run->Signal(GetParam());
  EXPECT_THAT(run->Wait(absl::Minutes(1)), IsOkAndHolds(Exit{.code = 130}));
  EXPECT_THAT(run->err(), HasSubstr("interrupted"));
  EXPECT_THAT(run->out(), IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(out_ + "/events.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(out_ + "/summary.json"));
}

INSTANTIATE_TEST_SUITE_P(Signals, InterruptTest, ::testing::Values(SIGINT, SIGTERM),
                         [](const auto& test) { return test.param == SIGINT ? "INT" : "TERM"; });

}  // namespace
}  // namespace tributary
