// A live job, exported and replayed: the same decisions, and with its updates the same model.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/replay.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::BinaryPath;
using test::Completed;
using test::LiveCluster;
using test::StatusIs;
using test::TempDir;
using ::testing::HasSubstr;

constexpr int kVersions = 8;

nlohmann::json Job(const nlohmann::json& scheduler, bool keep_updates) {
  return {{"name", "recorded"},
          {"model", {{"custom", "fake"}}},
          {"train", {{"local_steps", 2}}},
          {"scheduler", scheduler},
          {"codec", {"fp16"}},
          {"aggregation", {{"optimizer", {{"momentum", {{"learning_rate", 0.5}}}}}}},
          {"evaluate", {{"by", "everyone"}}},
          {"keep_updates", keep_updates},
          {"stop", {{"versions", kVersions}}}};
}

const nlohmann::json kRounds = {{"sync_round", {{"clients_per_round", 2}}}};

class ExportTest : public ::testing::Test {
 protected:
  // Runs the job with three clients and, in its middle, a restart; then exports it into out().
  void RunAndExport(const nlohmann::json& job_section, bool restart = false) {
    LiveCluster cluster(dir_.File("data"));
    const std::string job = cluster.Submit(job_section);
    for (const char* id : {"a", "b", "c"}) {
      cluster.AddClient(id, std::make_unique<FakeTrainer>(test::FlatLayout(2000, 3)));
    }
    if (restart) {
      cluster.Await(job, [](const v1::Job& j) { return j.version() >= kVersions / 2; });
      ExpectExported(cluster, job);  // a running job
      EXPECT_THAT(Replay(out()), test::IsOk());
      cluster.Restart();
    }
    const v1::Job ended = cluster.AwaitEnd(job);
    ASSERT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason();
    digest_ = test::NewestDigest(cluster.Versions(job));
    ExpectExported(cluster, job);
    std::ifstream events(out() + "/events.jsonl");
    for (std::string line; std::getline(events, line);) lines_.push_back(line);
  }

  void ExpectExported(const LiveCluster& cluster, const std::string& job) {
    const Completed tool = test::RunToEnd({BinaryPath("tributary"), "--server", cluster.address(),
                                           "job", "export", job, "--out", out()});
    ASSERT_EQ(tool.exit, test::Exit{.code = 0}) << tool.err;
  }

  std::string out() const { return dir_.File("out"); }
  void WriteLines() const {
    std::ofstream(out() + "/events.jsonl") << absl::StrJoin(lines_, "\n") << "\n";
  }
  size_t FindLine(const std::string& part) const {
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].find(part) != std::string::npos) return i;
    }
    ADD_FAILURE() << "no line has " << part;
    return 0;
  }

  const TempDir dir_;
  std::string digest_;
  std::vector<std::string> lines_;
};

TEST_F(ExportTest, DecisionsAloneWithoutUpdates) {
  nlohmann::json job = Job(kRounds, false);
  job["keep_versions"] = 1;
  RunAndExport(job);
  EXPECT_FALSE(std::filesystem::exists(out() + "/updates"));
  TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult result, Replay(out()));
  EXPECT_EQ(result.versions, kVersions + 1);
  EXPECT_GT(result.actions, 2 * kVersions);
  EXPECT_EQ(result.model_digest, std::nullopt);
}

TEST_F(ExportTest, TheSameModelWithUpdatesOverARestart) {
  RunAndExport(Job(kRounds, true), /*restart=*/true);
  TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult result, Replay(out()));
  ASSERT_TRUE(result.model_digest);
  EXPECT_EQ(result.model_digest->ToHex(), digest_);
}

TEST_F(ExportTest, AnAsynchronousJobTooWhoseOrderIsThatOfItsClients) {
  RunAndExport(Job({{"fedbuff", {{"goal", 2}}}}, true), /*restart=*/true);
  TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult result, Replay(out()));
  ASSERT_TRUE(result.model_digest);
  EXPECT_EQ(result.model_digest->ToHex(), digest_);
}

TEST_F(ExportTest, AnEventThatWasTamperedWithIsNamedByItsLine) {
  RunAndExport(Job(kRounds, true));
  const size_t update = FindLine("update_arrived");
  lines_[update] =
      absl::StrReplaceAll(lines_[update], {{"\"num_examples\":10", "\"num_examples\":11"}});
  WriteLines();
  EXPECT_THAT(Replay(out()), StatusIs(absl::StatusCode::kDataLoss,
                                      HasSubstr(absl::StrCat("events.jsonl:", update + 1, ":"))));
}

TEST_F(ExportTest, AnUpdateThatWasTamperedWithIsNamedByItsWorkOrder) {
  RunAndExport(Job(kRounds, true));
  const auto update = nlohmann::json::parse(lines_[FindLine("update_arrived")]);
  const auto order = update.at("work_order").get<int64_t>();
  std::fstream file(absl::StrCat(out(), "/updates/", order, ".update"),
                    std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(file.is_open());
  file.put(1);
  file.put(1);
  file.close();
  EXPECT_THAT(Replay(out()), StatusIs(absl::StatusCode::kDataLoss,
                                      HasSubstr(absl::StrCat("work order ", order, ":"))));
}

TEST_F(ExportTest, TheFiguresAreThoseOfTheJob) {
  RunAndExport(Job(kRounds, false));
  const auto summary = nlohmann::json::parse(std::ifstream(out() + "/summary.json"));
  EXPECT_EQ(summary.at("model_digest"), digest_);
  EXPECT_EQ(summary.at("versions"), kVersions);
  EXPECT_TRUE(std::filesystem::exists(out() + "/model.safetensors"));
  const Completed compared = test::RunToEnd({BinaryPath("tributary"), "--json", "compare", out()});
  EXPECT_EQ(compared.exit, test::Exit{.code = 0}) << compared.err;
  std::ifstream metrics(out() + "/metrics.csv");
  std::string row;
  int rows = 0;
  while (std::getline(metrics, row)) ++rows;
  EXPECT_EQ(rows, 1 + kVersions + 1);
}

}  // namespace
}  // namespace tributary
