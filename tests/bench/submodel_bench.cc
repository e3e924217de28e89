// A client's optimizer step on a model of which a structured mask leaves a share of the units in
// every hidden layer: trained as the smaller dense model that is left, beside the whole model in
// the same run. Prints a table, or with --json one object.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/cli/format.h"
#include "common/clock.h"
#include "common/params/layer_chain.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

DataView RandomImages(int64_t examples) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {1, 28, 28};
  data->num_classes = 10;
  Rng rng(1);
  for (int64_t i = 0; i < examples; ++i) data->labels.push_back(static_cast<int32_t>(i % 10));
  data->pixels.resize(static_cast<size_t>(examples * data->example_size()));
  for (auto& pixel : data->pixels) pixel = static_cast<uint8_t>(rng.UniformInt(256));
  return DataView::All(std::move(data));
}

// The first ⌈width·units⌉ of each hidden layer stay.
std::shared_ptr<const Mask> KeepWidth(const ParamLayout& layout, double width) {
  const auto chain = DeriveLayerChain(layout).value();
  std::vector<bool> keep(static_cast<size_t>(layout.trainable_size()), true);
  for (size_t l = 0; l + 1 < chain.size(); ++l) {
    const int64_t units = chain[l].units;
    const auto stay = static_cast<int64_t>(std::ceil(width * static_cast<double>(units)));
    for (int64_t unit = stay; unit < units; ++unit) RemoveUnit(chain, l, unit, keep);
  }
  return std::make_shared<const Mask>(keep);
}

absl::Duration Timed(TorchWorker& worker, const TrainTask& task, const DataView& data,
                     const ParamVector& base, int64_t& flops) {
  static const RealClock clock;
  ParamVector model = base.Clone();
  if (task.mask != nullptr) ClearPruned(*task.mask, 0, model.trainable());
  const absl::Time start = clock.Now();
  flops = worker.Train(task, data, model).value().flops;
  return (clock.Now() - start) / static_cast<double>(*task.local_steps);
}

int Main(int argc, char** argv) {
  CLI::App app{"time of a client's step on a structured submodel"};
  std::vector<double> widths = {0.25, 0.5};
  int64_t steps = 100, batch = 64;
  int rounds = 5;
  bool json = false;
  app.add_option("--widths", widths, "share of the units that stay")->delimiter(',');
  app.add_option("--steps", steps, "of one training")->check(CLI::Range(1, 1000000));
  app.add_option("--batch", batch, "examples of a step")->check(CLI::Range(1, 100000));
  app.add_option("--rounds", rounds, "of which the fastest counts")->check(CLI::Range(1, 1000));
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  const DataView data = RandomImages(std::max<int64_t>(1000, batch));
  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"model", "width", "ms a step", "of the whole", "operations, of the whole"}};
  for (const std::string model : {R"({"name":"mlp","hidden":[200,100]})",
                                  R"({"name":"mlp","hidden":[1000,1000]})", R"({"name":"cnn"})"}) {
    TorchWorker worker;
    TrainTask task;
    task.job.model_json = absl::StrCat("{\"builtin\":", model, "}");
    task.job.train_json = absl::StrCat(R"({"optimizer":{"sgd":{}},"batch_size":)", batch, "}");
    task.local_steps = steps;
    const ParamVector base = worker.InitialModel(task.job, DataShape::Of(*data.dataset), 1).value();
    std::vector<std::shared_ptr<const Mask>> masks = {nullptr};
    for (const double width : widths) masks.push_back(KeepWidth(*base.layout(), width));
    std::vector<absl::Duration> best(masks.size(), absl::InfiniteDuration());
    std::vector<int64_t> flops(masks.size());
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < masks.size(); ++i) {
        task.mask = masks[i];
        best[i] = std::min(best[i], Timed(worker, task, data, base, flops[i]));
      }
    }
    for (size_t i = 0; i < masks.size(); ++i) {
      const double width = i == 0 ? 1.0 : widths[i - 1],
                   ratio = absl::FDivDuration(best[i], best[0]);
      const double operations = static_cast<double>(flops[i]) / static_cast<double>(flops[0]);
      rows.push_back({{"model", nlohmann::json::parse(model)},
                      {"width", width},
                      {"seconds", absl::ToDoubleSeconds(best[i])},
                      {"of_whole", ratio},
                      {"flops_of_whole", operations}});
      table.push_back({model, absl::StrFormat("%g", width),
                       absl::StrFormat("%.3f", absl::ToDoubleMilliseconds(best[i])),
                       absl::StrFormat("%.2f", ratio), absl::StrFormat("%.2f", operations)});
    }
  }
  if (json) {
    std::cout << nlohmann::json{{"batch", batch}, {"rows", rows}}.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(table);
  }
  return 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
