#include "server/coordinator/job_file.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::tributary::test::IsOk;
using ::tributary::test::IsOkAndHolds;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

constexpr char kJob[] = R"(job:
  name: demo
  model: {builtin: {name: cnn}}
  train: {local_epochs: 1}
  scheduler: {sync_round: {clients_per_round: 5}}
  stop: {versions: 3}
)";

class JobFileTest : public ::testing::Test {
 protected:
  test::TempDir dir_;
};

TEST_F(JobFileTest, ReadsTheJobAndLeavesTheSimulation) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec live, ReadJobFile(dir_.Write("live.yaml", kJob)));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec both,
      ReadJobFile(dir_.Write("both.yaml",
                             absl::StrCat(kJob, "simulation: {clients: 3, whatever: [1]}\n"))));
  EXPECT_EQ(live.train.local_epochs, 1);
  EXPECT_EQ(CanonicalJson(live), CanonicalJson(both));
}

TEST_F(JobFileTest, AMissingFileIsNotFound) {
  EXPECT_THAT(ReadJobFile(dir_.File("none.yaml")), StatusIs(Code::kNotFound));
}

TEST_F(JobFileTest, TheInitialModelIsRelativeToTheJobFile) {
  std::string text = kJob;
  text.replace(text.find("cnn}"), 4, "cnn}, initial: models/first.safetensors");
  const std::string path = dir_.Write("job.yaml", text);
  EXPECT_THAT(ReadJobFile(path),
              StatusIs(Code::kInvalidArgument,
                       StartsWith(absl::StrCat(path,
                                               ":3:42: job.model.initial: cannot be read, "
                                               "found 'models/first.safetensors': "))));
  dir_.Write("models/first.safetensors", "bytes");
  EXPECT_THAT(ReadJobFile(path), IsOk());
}

TEST_F(JobFileTest, CheckFilesStartsFromTheBaseFolder) {
  TRIB_ASSERT_OK_AND_ASSIGN(JobSpec spec, ReadJobFile(dir_.Write("job.yaml", kJob)));
  EXPECT_THAT(CheckFiles(spec, dir_.path()), IsOk());
  spec.model.initial = "first.safetensors";
  EXPECT_THAT(CheckFiles(spec, dir_.path()),
              StatusIs(Code::kInvalidArgument, StartsWith("job.model.initial: cannot be read")));
  const std::string file = dir_.Write("first.safetensors", "bytes");
  EXPECT_THAT(CheckFiles(spec, dir_.path()), IsOk());
  spec.model.initial = file;
  EXPECT_THAT(CheckFiles(spec, "/nowhere"), IsOk());
  dir_.Write("folder.safetensors/x", "");
  spec.model.initial = "folder.safetensors";
  EXPECT_THAT(CheckFiles(spec, dir_.path()),
              StatusIs(Code::kInvalidArgument, HasSubstr("is a folder")));
}

TEST_F(JobFileTest, AProgramIsTakenByItsDigest) {
  std::string text = kJob;
  text.replace(text.find("{builtin: {name: cnn}}"), 22, "{torchscript: model.pt}");
  const std::string path = dir_.Write("job.yaml", text);
  const auto refused = [&](absl::string_view why) {
    return StatusIs(Code::kInvalidArgument,
                    StartsWith(absl::StrCat(path, ":3:24: job.model.torchscript: ", why)));
  };
  EXPECT_THAT(ReadJobFile(path), refused("cannot be read, found 'model.pt': No such file"));
  dir_.Write("model.pt", "");
  EXPECT_THAT(ReadJobFile(path), refused("is empty"));

  const std::string code("a\0b", 3);
  dir_.Write("model.pt", code);
  TRIB_ASSERT_OK_AND_ASSIGN(JobSpec spec, ReadJobFile(path));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string program, TakeProgram(dir_.path(), spec));
  EXPECT_EQ(program, code);
  EXPECT_EQ(spec.model.torchscript, std::nullopt);
  ASSERT_TRUE(spec.model.program.has_value());
  EXPECT_THAT(CheckProgram(*spec.model.program, code), IsOk());
  EXPECT_THAT(CanonicalJson(spec), Not(HasSubstr("model.pt"))) << "the path stays here";
  EXPECT_THAT(TakeProgram(dir_.path(), spec), IsOkAndHolds("")) << "taken already";
}

TEST_F(JobFileTest, AJobFileNamesAProgramByItsPath) {
  std::string text = kJob;
  text.replace(text.find("{builtin: {name: cnn}}"), 22,
               absl::StrCat("{program: {sha256: ", ProgramSpecOf("x").sha256, ", bytes: 1}}"));
  EXPECT_THAT(ReadJobFile(dir_.Write("job.yaml", text)),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("job.model.program: found in a job file; allowed: torchscript")));
}

TEST(JobFileJsonSchemaTest, CoversTheWholeFile) {
  const nlohmann::json schema = JobFileJsonSchema();
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["required"], nlohmann::json::array({"job"}));
  const nlohmann::json& job = schema["properties"]["job"];
  EXPECT_EQ(job["required"], nlohmann::json::array({"name", "model", "train", "scheduler"}));
  std::set<std::string> schedulers;
  for (const nlohmann::json& one : job["properties"]["scheduler"]["oneOf"]) {
    if (!one.contains("properties")) continue;
    for (const auto& [name, options] : one["properties"].items()) schedulers.insert(name);
  }
  for (const auto& entry : SchedulerRegistry().entries()) {
    EXPECT_THAT(schedulers, Contains(entry.name));
  }
  EXPECT_EQ(schema["properties"]["simulation"]["type"], "object");
}

TEST(JobFileMarkdownTest, HasASectionForEveryAlternative) {
  const std::string text = JobFileMarkdown();
  for (const char* heading :
       {"\n## `job`\n", "\n## `job.model.builtin`\n", "\n### `job.train.optimizer.adamw`\n",
        "\n### `job.scheduler.sync_round`\n", "\n### `job.aggregation.combine.fedavg`\n",
        "\n### `job.aggregation.transforms.clip`\n", "\n### `job.aggregation.optimizer.yogi`\n",
        "\n### `job.codec.fp16`\n", "\n## `job.stop`\n"}) {
    EXPECT_THAT(text, HasSubstr(heading));
  }
}

}  // namespace
}  // namespace tributary
