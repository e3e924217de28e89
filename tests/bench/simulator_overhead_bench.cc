// What the simulator costs beside LibTorch: the CPU time of a whole run (reading the data, dealing
// it out, events, aggregation and all) over that of a bare LibTorch program which takes as many
// steps and evaluates as often: MLP 784-200-10, batch 32, torch::nn and torch::optim::SGD, the data
// ready in one tensor. Prints a table, or with --json one object; fails above --limit.
#include <ATen/core/ivalue.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/readers.h"
#include "common/check.h"
#include "common/cli/format.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "simulator/experiment.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

constexpr char kFile[] = R"(
job:
  name: overhead
  model:
    builtin: {name: mlp, hidden: [200]}
  train:
    optimizer: {sgd: {learning_rate: 0.05}}
    batch_size: 32
    local_steps: 50
  scheduler:
    sync_round: {clients_per_round: 10}
  stop: {versions: 1}  # --versions
simulation:
  clients: 100
  data: {dataset: fashion_mnist}
  speed: {normal: {mean_seconds_per_step: 0.1, relative_stddev: 0.3}}
  network: {}
)";

// User and system time of the whole process.
double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Work {
  int64_t steps = 0;
  int64_t evaluations = 0;
};

// As the user runs it, files included.
absl::StatusOr<Work> Simulate(const test::TempDir& dir, int versions) {
  TRIB_ASSIGN_OR_RETURN(
      SimulationFile file,
      ReadSimulationFile(dir.Write("job.yaml", kFile),
                         {.set = {absl::StrCat("job.stop.versions=", versions)}}));
  TRIB_ASSIGN_OR_RETURN(auto log, RunLog::Create(dir.File("out"), file.job));
  TRIB_ASSIGN_OR_RETURN(auto experiment, Experiment::Create(std::move(file), {.threads = 1}));
  TRIB_RETURN_IF_ERROR(experiment->Run(log.get()));
  TRIB_ASSIGN_OR_RETURN(const ParamVector model, experiment->Model());
  TRIB_RETURN_IF_ERROR(log->Finish(experiment->Summary(), experiment->metrics(), model));
  return Work{experiment->Summary().progress.client_steps,
              std::ranges::count_if(experiment->metrics(), [](const VersionMetrics& m) {
                return m.accuracy.has_value();
              })};
}

struct Net : torch::nn::Module {
  Net()
      : hidden(register_module("hidden", torch::nn::Linear(784, 200))),
        logits(register_module("logits", torch::nn::Linear(200, 10))) {}
  torch::Tensor forward(const torch::Tensor& x) { return logits(torch::relu(hidden(x))); }
  torch::nn::Linear hidden;
  torch::nn::Linear logits;
};

struct Tensors {
  torch::Tensor inputs, labels;
};

Tensors Load(const Dataset& data) {
  Tensors t{torch::empty({data.size(), 784}), torch::empty({data.size()}, torch::kLong)};
  data.Gather(DataView::All(std::make_shared<const Dataset>(data)).indices,
              t.inputs.data_ptr<float>(), t.labels.data_ptr<int64_t>());
  return t;
}

double Bare(const Tensors& train, const Tensors& test, const Work& work) {
  namespace F = torch::nn::functional;
  at::set_num_threads(1);
  Net net;
  torch::optim::SGD optimizer(net.parameters(), torch::optim::SGDOptions(0.05));
  std::vector<int64_t> order(static_cast<size_t>(train.labels.size(0)));
  std::iota(order.begin(), order.end(), 0);
  Rng(1).Shuffle(absl::MakeSpan(order));
  const torch::Tensor shuffled = torch::tensor(order);
  const double start = CpuSeconds();
  const int64_t batches = train.labels.size(0) / 32;
  for (int64_t step = 0; step < work.steps; ++step) {
    const torch::Tensor batch = shuffled.narrow(0, step % batches * 32, 32);
    optimizer.zero_grad();
    F::cross_entropy(net.forward(train.inputs.index_select(0, batch)),
                     train.labels.index_select(0, batch))
        .backward();
    optimizer.step();
  }
  const torch::NoGradGuard no_gradients;
  double loss = 0;
  int64_t correct = 0;
  for (int64_t i = 0; i < work.evaluations; ++i) {
    for (int64_t begin = 0; begin < test.labels.size(0); begin += 512) {
      const int64_t size = std::min<int64_t>(512, test.labels.size(0) - begin);
      const torch::Tensor logits = net.forward(test.inputs.narrow(0, begin, size));
      const torch::Tensor labels = test.labels.narrow(0, begin, size);
      loss += F::cross_entropy(logits, labels).item<double>();
      correct += logits.argmax(1).eq(labels).sum().item<int64_t>();
    }
  }
  const double spent = CpuSeconds() - start;
  TRIB_CHECK(loss > 0 && correct > 0);
  return spent;
}

struct Round {
  double simulator = 0, bare = 0;
  double ratio() const { return simulator / bare; }
};

int Main(int argc, char** argv) {
  CLI::App app{"the simulator's CPU time over that of a bare LibTorch loop"};
  int repeats = 3;
  int versions = 80;
  double limit = 0;
  bool json = false;
  app.add_option("--repeats", repeats, "measurements; the median counts")->check(CLI::Range(1, 99));
  app.add_option("--versions", versions, "length of a run, 500 steps each")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--limit", limit, "fail above this ratio; 0: never");
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  DatasetSpec spec;
  spec.dataset = "fashion_mnist";
  const auto data = LoadDataset(spec);
  if (!data.ok()) return std::cerr << data.status() << "\n", 1;
  const Tensors train = Load(*data->train), test = Load(*data->test);
  Bare(train, test, {.steps = 200, .evaluations = 1});  // warms up
  std::vector<Round> rounds;
  Work work;
  for (int i = 0; i < repeats; ++i) {
    const test::TempDir dir;
    const double start = CpuSeconds();
    const auto simulated = Simulate(dir, versions);
    const double spent = CpuSeconds() - start;
    if (!simulated.ok()) return std::cerr << simulated.status() << "\n", 1;
    work = *simulated;
    rounds.push_back({spent, Bare(train, test, work)});
  }
  std::ranges::sort(rounds, {}, &Round::ratio);
  const Round median = rounds[rounds.size() / 2];
  if (json) {
    std::cout << nlohmann::json{{"steps", work.steps},
                                {"evaluations", work.evaluations},
                                {"simulator_cpu_seconds", median.simulator},
                                {"bare_cpu_seconds", median.bare},
                                {"ratio", median.ratio()},
                                {"ratio_least", rounds.front().ratio()},
                                {"ratio_most", rounds.back().ratio()}}
                     .dump(2)
              << "\n";
  } else {
    std::vector<std::vector<std::string>> rows = {{"simulator, CPU s", "bare, CPU s", "ratio"}};
    for (const Round& r : rounds) {
      rows.push_back({absl::StrCat(r.simulator), absl::StrCat(r.bare), absl::StrCat(r.ratio())});
    }
    std::cout << cli::FormatTable(rows) << work.steps << " steps, " << work.evaluations
              << " evaluations; the median ratio is " << median.ratio() << "\n";
  }
  return limit > 0 && median.ratio() > limit ? 1 : 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
