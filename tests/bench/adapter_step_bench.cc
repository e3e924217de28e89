// A client's optimizer step on a gpt through low-rank adapters, beside a step on all its weights in
// the same run. Prints a table, or with --json one object.
#include <algorithm>
#include <cstdint>
#include <functional>
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
#include "common/rng.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

DataView RandomText(int64_t windows, int64_t length, int64_t vocabulary) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {length};
  data->num_classes = vocabulary;
  Rng rng(1);
  for (int64_t i = 0; i < windows * (length + 1); ++i) {
    data->tokens.push_back(static_cast<int32_t>(rng.UniformInt(vocabulary)));
  }
  return DataView::All(std::move(data));
}

struct Row {
  std::string name;
  int64_t values = 0;  // trained
  std::function<TrainResult()> train;
  absl::Duration best = absl::InfiniteDuration();  // of a step
  TrainResult result;
};

struct Trained {
  std::string name;
  std::vector<std::string> targets;
  AdapterFactors factors = AdapterFactors::kBoth;
};

FrozenModel Freeze(const std::shared_ptr<const ParamVector>& model, const Trained& what,
                   int64_t rank) {
  LoraSpec spec;
  spec.rank = rank;
  spec.targets = what.targets;
  return {LoraPlan::Create(spec, FindLoraRule("lora_stacking").value(), *model->layout(),
                           /*transposed_weights=*/true)
              .value(),
          model, rank, what.factors};
}

int Main(int argc, char** argv) {
  CLI::App app{"time of a client's step through low-rank adapters"};
  int64_t width = 512, layers = 4, heads = 8, length = 128, vocabulary = 256, batch = 8, rank = 8;
  int64_t steps = 3;
  int rounds = 5;
  bool json = false;
  app.add_option("--width", width, "of the model")->check(CLI::Range(8, 8192));
  app.add_option("--layers", layers, "of the model")->check(CLI::Range(1, 100));
  app.add_option("--heads", heads, "of a layer; the width is a multiple")->check(CLI::Range(1, 64));
  app.add_option("--length", length, "tokens of an example")->check(CLI::Range(1, 4096));
  app.add_option("--vocabulary", vocabulary, "of the model")->check(CLI::Range(2, 100000));
  app.add_option("--batch", batch, "examples of a step")->check(CLI::Range(1, 1024));
  app.add_option("--rank", rank, "of the adapters")->check(CLI::Range(1, 4096));
  app.add_option("--steps", steps, "of one training")->check(CLI::Range(1, 1000000));
  app.add_option("--rounds", rounds, "of which the fastest counts")->check(CLI::Range(1, 1000));
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  const DataView data = RandomText(batch, length, vocabulary);
  TorchWorker worker;
  TrainTask task;
  task.job.model_json = absl::StrFormat(
      R"({"builtin":{"name":"gpt","width":%d,"layers":%d,"heads":%d}})", width, layers, heads);
  task.job.train_json = absl::StrCat(R"({"optimizer":{"adam":{}},"batch_size":)", batch, "}");
  task.local_steps = steps;
  const auto model = std::make_shared<const ParamVector>(
      worker.InitialModel(task.job, DataShape::Of(*data.dataset), 1).value());

  std::vector<Row> rows = {{"all weights", model->layout()->size(), [&] {
                              ParamVector trained = model->Clone();
                              return worker.Train(task, data, trained).value();
                            }}};
  for (const Trained& what : {Trained{"adapters of c_attn", {"*.c_attn"}},
                              Trained{"the same, B alone", {"*.c_attn"}, AdapterFactors::kB},
                              Trained{"adapters of all layers", {"h.*"}}}) {
    const FrozenModel frozen = Freeze(model, what, rank);
    rows.push_back({what.name, frozen.plan->AdapterLayout(rank, what.factors)->size(), [&, frozen] {
                      ParamVector adapter = frozen.plan->StartAdapter(*model, rank, 1);
                      return worker.TrainAdapter(task, frozen, data, adapter).value();
                    }});
  }
  const RealClock clock;
  for (int round = 0; round < rounds; ++round) {
    for (Row& row : rows) {
      const absl::Time start = clock.Now();
      row.result = row.train();
      row.best = std::min(row.best, (clock.Now() - start) / static_cast<double>(steps));
    }
  }

  nlohmann::json found = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"trained", "values", "ms a step", "of the whole", "operations, of the whole"}};
  for (const Row& row : rows) {
    const double ratio = absl::FDivDuration(row.best, rows[0].best);
    const double operations =
        static_cast<double>(row.result.flops) / static_cast<double>(rows[0].result.flops);
    found.push_back({{"trained", row.name},
                     {"values", row.values},
                     {"seconds", absl::ToDoubleSeconds(row.best)},
                     {"of_whole", ratio},
                     {"flops_of_whole", operations}});
    table.push_back({row.name, absl::StrCat(row.values),
                     absl::StrFormat("%.1f", absl::ToDoubleMilliseconds(row.best)),
                     absl::StrFormat("%.2f", ratio), absl::StrFormat("%.2f", operations)});
  }
  if (json) {
    std::cout << nlohmann::json{{"width", width}, {"rank", rank}, {"rows", found}}.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(table);
  }
  return 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
