// The same job, live with SDK clients over loopback gRPC and simulated on virtual time, makes
// the same model to the last bit.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/data/partition.h"
#include "client_sdk/data/readers.h"
#include "client_sdk/torch/torch_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/experiment.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::TempDir;

constexpr int kClients = 4;
constexpr int kSeed = 11;

constexpr char kFile[] = R"(
job:
  name: live-equals-simulated
  seed: 11
  model: {builtin: {name: mlp, hidden: [16]}}
  train:
    optimizer: {sgd: {learning_rate: 0.05, momentum: 0.5}}
    batch_size: 8
    local_steps: 6
  scheduler: {sync_round: {clients_per_round: 4}}
  stop: {versions: 5}
simulation:
  seed: 11
  clients: 4
  data:
    dataset: synthetic
    classes: 3
    dimensions: 12
    train_examples: 400
    test_examples: 90
    partition: {dirichlet: {alpha: 0.5}}
)";

constexpr char kLora[] = "job.lora={rank: 4, alpha: 8, targets: ['fc*'], dropout: 0.1}";
// With dropout, a batch norm (to which a batch of one example would be none) and a counter.
std::string Program() {
  using Kind = test::ScriptTensor::Kind;
  return test::MakeProgram({{"fc1.weight", {16, 12}},
                            {"bn.weight", {16}},
                            {"bn.bias", {16}},
                            {"bn.running_mean", {16}, Kind::kBuffer},
                            {"bn.running_var", {16}, Kind::kBuffer},
                            {"bn.num_batches_tracked", {}, Kind::kCounter},
                            {"fc2.weight", {3, 16}}},
                           R"(
def forward(self, x):
    x = torch.linear(x, self.fc1.weight)
    if self.training:
        self.bn.num_batches_tracked.add_(1)
    x = torch.batch_norm(x, self.bn.weight, self.bn.bias, self.bn.running_mean, self.bn.running_var,
                         self.training, 0.1, 0.00001, False)
    return torch.linear(torch.dropout(torch.relu(x), 0.3, self.training), self.fc2.weight)
)");
}

struct Case {
  std::string name;
  std::vector<std::string> set;
};
class LiveEqualsSimulated : public ::testing::TestWithParam<Case> {};

TEST_P(LiveEqualsSimulated, SameModelDigest) {
  const TempDir dir;
  dir.Write("model.pt", Program());
  TRIB_ASSERT_OK_AND_ASSIGN(
      const SimulationFile file,
      ReadSimulationFile(dir.Write("job.yaml", kFile), {.set = GetParam().set}));

  TRIB_ASSERT_OK_AND_ASSIGN(auto experiment, Experiment::Create(file, {.threads = 2}));
  ASSERT_THAT(experiment->Run(nullptr), test::IsOk());
  const JobProgress simulated = experiment->Summary().progress;

  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(file.simulation.data));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(*data.train, file.simulation.data.partition, kClients, kSeed));
  test::LiveCluster cluster(dir.File("data"));
  const std::string job =
      cluster.Submit(config::Print(file.job), file.program == nullptr ? "" : *file.program);
  const auto options = [&](const std::string& id) {
    ClientOptions made = cluster.Options(id);
    made.allow_programs = true;
    return made;
  };
  TRIB_ASSERT_OK_AND_ASSIGN(auto evaluator,
                            TorchTrainer::Create({.train = {}, .eval = DataView::All(data.test)}));
  ClientOptions evaluates = options("evaluator");
  evaluates.evaluate_only = true;
  cluster.AddClient(evaluates, std::move(evaluator));
  for (int i = 0; i < kClients; ++i) {
    TRIB_ASSERT_OK_AND_ASSIGN(auto trainer,
                              TorchTrainer::Create({.train = {data.train, parts[i]}, .eval = {}}));
    cluster.AddClient(options(absl::StrCat("client-", i)), std::move(trainer));
  }
  const v1::Job live = cluster.AwaitEnd(job);

  ASSERT_EQ(live.state(), v1::JOB_STATE_DONE) << live.reason();
  EXPECT_EQ(live.version(), simulated.version);
  EXPECT_EQ(test::NewestDigest(cluster.Versions(job)), simulated.model_digest.ToHex());
  EXPECT_EQ(live.evaluation().version(), simulated.evaluation.version);
  EXPECT_EQ(live.evaluation().accuracy(), simulated.evaluation.accuracy);
  EXPECT_EQ(live.updates(), simulated.updates);
  EXPECT_EQ(static_cast<int64_t>(live.counters().uplink_bytes()), simulated.uplink_bytes);
  EXPECT_TRUE(live.counters().lost().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, LiveEqualsSimulated,
    ::testing::Values(
        Case{"plain", {}}, Case{"fp16_on_the_wire", {"job.codec=[fp16]"}},
        Case{"topk_with_error_feedback", {"job.codec=[{topk: {fraction: 0.05}}]"}},
        Case{"topk_with_momentum_correction",
             {"job.codec=[{topk: {fraction: 0.05}}]", "job.error_feedback={momentum: 0.9}"}},
        Case{"topk_without", {"job.codec=[{topk: {fraction: 0.05}}]", "job.error_feedback=false"}},
        Case{"randk_with_error_feedback_of_equals",
             {"job.codec=[{randk: {fraction: 0.1}}]",
              "job.aggregation={combine: {fedavg: {weights: uniform}}}"}},
        Case{"sparsity_that_warms_up",
             {"job.codec=[{topk: {fraction: 0.02, warmup: {versions: 4}}}, {randk: {fraction: 0.1, "
              "warmup: {versions: 3, from: 0.9}}}]",
              "job.downlink={codec: [{topk: {fraction: 0.05, warmup: {versions: 3}}}]}"}},
        Case{"exact_downlink", {"job.downlink={}"}},
        Case{"topk_int8_downlink", {"job.downlink={codec: [{topk: {fraction: 0.1}}, int8]}"}},
        Case{"a_program", {"job.model={torchscript: model.pt}", "simulation.data.partition=iid"}},
        Case{"server_adam_and_clip",
             {"job.aggregation={transforms: [{clip: {norm: 0.5}}], optimizer: {adam: "
              "{learning_rate: 0.01}}}"}},
        Case{"lora_of_a_program",
             {"job.model={torchscript: model.pt}", "simulation.data.partition=iid",
              "job.lora={rank: 2, targets: ['fc*']}"}},
        Case{"lora_stacking", {kLora}},
        Case{"lora_recompressed_with_quantised_factors",
             {kLora, "job.codec=[int8]", "job.downlink={codec: [fp16]}",
              "job.aggregation={combine: {lora_stacking: {delivery: recompressed, rank: {fixed: "
              "{rank: 3}}}}}",
              "job.hypergradient={}"}},
        Case{"lora_with_sparsity_that_warms_up",
             {kLora, "job.codec=[{topk: {fraction: 0.1, warmup: {versions: 4}}}]",
              "job.downlink={codec: [{topk: {fraction: 0.2, warmup: {versions: 3}}}]}"}},
        Case{"lora_factor_a_frozen", {kLora, "job.aggregation={combine: ffa}"}},
        Case{"lora_average_with_server_adam",
             {kLora,
              "job.aggregation={combine: lora_average, optimizer: {adam: {learning_rate: "
              "0.01}}}"}},
        Case{"lora_factors_in_turn", {kLora, "job.aggregation={combine: rolora}"}},
        Case{"lora_with_a_factor_of_each_client", {kLora, "job.aggregation={combine: fedsa}"}},
        Case{"lora_with_what_the_mean_lacks", {kLora, "job.aggregation={combine: fedex}"}}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
