#include "simulator/evaluation.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/data/partition.h"
#include "client_sdk/data/task_data.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/cli/format.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::StatusOr<LoadedData> DataOfTask(const SimulationFile& file, int64_t task) {
  const int64_t tasks = file.job.continual ? file.job.continual->tasks : 1;
  if (task >= tasks) {
    return absl::InvalidArgumentError(
        absl::StrCat("task is ", task, "; allowed: 0 to ", tasks - 1));
  }
  auto all = TaskData::Load(file.simulation.data);
  if (!all.ok()) return file.Refuse("simulation.data", all.status());
  auto data = all->Task(task);
  if (!data.ok()) return file.Refuse("simulation.data.scenario", data.status());
  return data;
}

// Whose data each client of the run has, by their numbers in the data.
absl::StatusOr<std::vector<int32_t>> OwnersOfClients(const SimulationFile& file,
                                                     const Dataset& train) {
  const SimulationSpec& spec = file.simulation;
  const auto parts =
      PartitionDataset(train, spec.data.partition, spec.clients, static_cast<uint64_t>(spec.seed));
  if (!parts.ok()) return file.Refuse("simulation.data.partition", parts.status());
  std::vector<int32_t> owners;
  for (const auto& part : *parts) {
    owners.push_back(train.client_ids[static_cast<size_t>(part.front())]);
  }
  return owners;
}

std::vector<int32_t> ExamplesOf(const Dataset& data, int32_t owner) {
  std::vector<int32_t> examples;
  for (size_t i = 0; i < data.client_ids.size(); ++i) {
    if (data.client_ids[i] == owner) examples.push_back(static_cast<int32_t>(i));
  }
  return examples;
}

nlohmann::json ResultJson(const EvalResult& result) {
  nlohmann::json json = {{"examples", result.num_examples}};
  if (result.num_examples == 0) return json;
  json.update({{"loss", result.loss}, {"accuracy", result.accuracy}});
  for (const auto& [name, value] : result.metrics) json[name] = value;
  return json;
}

std::vector<std::string> Row(const std::string& name, const EvalResult& result) {
  std::vector<std::string> row = {name, absl::StrCat(result.num_examples)};
  if (result.num_examples == 0) return row;
  row.push_back(absl::StrFormat("%.4f", result.loss));
  row.push_back(cli::FormatPercent(result.accuracy));
  for (const auto& [metric, value] : result.metrics) row.push_back(absl::StrFormat("%.4f", value));
  return row;
}

}  // namespace

absl::StatusOr<Evaluation> Evaluate(const SimulationFile& file, const ParamVector& version,
                                    int64_t task) {
  ParamVector merged;
  if (const auto terms = LoraTermsOf(file.job)) {
    const auto plan = LoraPlan::Create(*terms, *version.layout());
    if (!plan.ok()) return file.Refuse("job.lora", plan.status());
    merged = (*plan)->Merged(version);
  }
  const ParamVector& model = merged.empty() ? version : merged;
  TRIB_ASSIGN_OR_RETURN(const LoadedData data, DataOfTask(file, task));
  TorchWorker worker;
  EvalTask what;
  what.job.name = file.job.name;
  what.job.model_json = config::Print(file.job.model).dump();
  what.job.program = file.program;
  if (auto fits = worker.CheckModel(what.job, DataShape::Of(*data.test), model); !fits.ok()) {
    return file.Refuse("job.model", fits);
  }
  Evaluation evaluation;
  TRIB_ASSIGN_OR_RETURN(evaluation.all, worker.Evaluate(what, DataView::All(data.test), model));
  if (file.simulation.data.partition.name != "natural" || data.test->client_ids.empty()) {
    return evaluation;
  }
  TRIB_ASSIGN_OR_RETURN(const std::vector<int32_t> owners, OwnersOfClients(file, *data.train));
  const std::vector<std::string>& names = data.test->client_names;
  for (const int32_t owner : owners) {
    auto& [name, result] = evaluation.clients.emplace_back();
    name = names.empty() ? absl::StrCat(owner) : names[static_cast<size_t>(owner)];
    const DataView view = {data.test, ExamplesOf(*data.test, owner)};
    if (view.size() == 0) continue;
    TRIB_ASSIGN_OR_RETURN(result, worker.Evaluate(what, view, model));
  }
  return evaluation;
}

nlohmann::json EvaluationJson(const Evaluation& evaluation) {
  nlohmann::json clients = nlohmann::json::array();
  for (const auto& [name, result] : evaluation.clients) {
    clients.push_back(ResultJson(result));
    clients.back()["name"] = name;
  }
  return {{"all", ResultJson(evaluation.all)}, {"clients", std::move(clients)}};
}

std::vector<std::vector<std::string>> EvaluationTable(const Evaluation& evaluation) {
  std::vector<std::vector<std::string>> rows = {{"client", "examples", "loss", "accuracy"}};
  for (const auto& [name, value] : evaluation.all.metrics) rows.front().push_back(name);
  rows.push_back(Row("all", evaluation.all));
  for (const auto& [name, result] : evaluation.clients) rows.push_back(Row(name, result));
  return rows;
}

}  // namespace tributary
