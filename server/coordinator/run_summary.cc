#include "server/coordinator/run_summary.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

using Json = nlohmann::json;

std::string Number(double v) { return Json(v).dump(); }
std::string Number(const std::optional<double>& v) { return v ? Number(*v) : ""; }
std::string Number(const std::optional<int64_t>& v) { return v ? absl::StrCat(*v) : ""; }

Json TargetJson(double accuracy, const std::vector<VersionMetrics>& metrics) {
  for (const VersionMetrics& m : metrics) {
    if (!m.accuracy || *m.accuracy < accuracy) continue;
    return {{"accuracy", accuracy},
            {"version", m.version},
            {"updates", m.updates},
            {"virtual_seconds", m.virtual_seconds},
            {"uplink_bytes", m.uplink_bytes}};
  }
  return {{"accuracy", accuracy},
          {"version", nullptr},
          {"updates", nullptr},
          {"virtual_seconds", nullptr},
          {"uplink_bytes", nullptr}};
}

bool IsComplete(const std::vector<std::vector<double>>& accuracy) {
  for (size_t t = 0; t < accuracy.size(); ++t) {
    if (accuracy[t].size() != t + 1) return false;
  }
  return !accuracy.empty();
}

// The tasks that need columns.
std::set<int64_t> TasksOf(const std::vector<VersionMetrics>& metrics) {
  std::set<int64_t> tasks;
  for (const VersionMetrics& m : metrics) {
    for (const auto& [task, accuracy] : m.task_accuracy) tasks.insert(task);
  }
  if (tasks.size() == 1) tasks.clear();
  return tasks;
}

}  // namespace

VersionMetrics VersionMetrics::Of(const event::VersionPublished& published, double virtual_seconds,
                                  const JobProgress& before) {
  VersionMetrics row;
  row.version = published.version;
  row.virtual_seconds = virtual_seconds;
  row.server_rate = published.server_rate;
  row.client_rate = published.client_rate;
  row.phase = before.phase;
  row.task = before.task;
  return row;
}

void VersionMetrics::AddCounts(const JobProgress& after) {
  updates = after.updates;
  uplink_bytes = after.uplink_bytes;
  client_steps = after.client_steps;
  mean_staleness = after.last_mean_staleness;
}

void VersionMetrics::AddEvaluation(const action::RecordEvaluation& evaluation) {
  loss = evaluation.loss;
  accuracy = evaluation.accuracy;
  for (size_t i = 0; i < evaluation.tasks.size(); ++i) {
    task_accuracy[static_cast<int64_t>(i)] = evaluation.tasks[i].accuracy;
  }
  if (evaluation.tasks.empty()) task_accuracy[task] = evaluation.accuracy;
}

std::optional<TaskFigures> FiguresOfTasks(const JobProgress& progress) {
  const std::vector<std::vector<double>>& accuracy = progress.task_accuracy;
  if (!IsComplete(accuracy)) return std::nullopt;
  TaskFigures figures{.accuracy = accuracy.back()};
  const auto tasks = static_cast<double>(accuracy.size());
  double lost = 0;
  for (size_t j = 0; j < accuracy.size(); ++j) {
    figures.average_accuracy += figures.accuracy[j] / tasks;
    lost += accuracy[j].back() - figures.accuracy[j];
  }
  if (tasks > 1) figures.forgetting = lost / (tasks - 1);
  return figures;
}

std::string MetricsCsv(const std::vector<VersionMetrics>& metrics) {
  std::string csv =
      "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,client_steps,"
      "server_rate,mean_staleness,client_rate,phase,task";
  const std::set<int64_t> tasks = TasksOf(metrics);
  for (const int64_t task : tasks) absl::StrAppend(&csv, ",accuracy_task_", task);
  csv += "\n";
  for (const VersionMetrics& m : metrics) {
    absl::StrAppend(&csv, m.version, ",", Number(m.virtual_seconds), ",", m.updates, ",",
                    Number(m.loss), ",", Number(m.accuracy), ",", m.uplink_bytes, ",",
                    Number(m.downlink_bytes), ",");
    absl::StrAppend(&csv, m.client_steps, ",", Number(m.server_rate), ",", Number(m.mean_staleness),
                    ",", Number(m.client_rate), ",", JobPhaseName(m.phase), ",", m.task);
    for (const int64_t task : tasks) {
      const auto it = m.task_accuracy.find(task);
      absl::StrAppend(&csv, ",", it == m.task_accuracy.end() ? "" : Number(it->second));
    }
    csv += "\n";
  }
  return csv;
}

nlohmann::json SummaryJson(const RunSummary& s, const std::vector<VersionMetrics>& metrics) {
  const JobProgress& p = s.progress;
  Json targets = Json::array();
  for (const double accuracy : s.targets) targets.push_back(TargetJson(accuracy, metrics));
  int64_t lost = 0;
  for (const auto& [cause, count] : p.lost) lost += count;
  const bool evaluated = p.evaluation.version >= 0;
  Json json = {
      {"name", s.name},
      {"seed", s.seed},
      {"config_digest", s.config_digest},
      {"model_digest", p.model_digest.ToHex()},
      {"versions", p.version},
      {"phase", std::string(JobPhaseName(p.phase))},
      {"task", p.task},
      {"updates", p.updates},
      {"client_steps", p.client_steps},
      {"virtual_seconds", s.virtual_seconds},
      {"wall_seconds", s.wall_seconds},
      {"peak_rss_bytes", s.peak_rss_bytes},
      {"uplink_bytes", p.uplink_bytes},
      {"downlink_bytes", s.downlink_bytes},
      {"uplink_bytes_dense", s.uplink_bytes_dense},
      {"train_flops", s.train_flops},
      {"train_flops_dense", s.train_flops_dense},
      {"final",
       {{"loss", evaluated ? Json(p.evaluation.loss) : Json()},
        {"accuracy", evaluated ? Json(p.evaluation.accuracy) : Json()}}},
      {"best",
       {{"accuracy", evaluated ? Json(p.best.accuracy) : Json()},
        {"version", evaluated ? Json(p.best.version) : Json()}}},
      {"targets", std::move(targets)},
      {"staleness",
       {{"mean", p.updates > 0 ? p.staleness_sum / static_cast<double>(p.updates) : 0.0},
        {"max", p.staleness_max}}},
      {"clients",
       {{"count", s.clients},
        {"lost", lost},
        {"late_updates", p.late_updates},
        {"utilisation", s.utilisation}}},
      {"lost", p.lost},
      {"scheduler", s.scheduler},
  };
  if (const auto tasks = FiguresOfTasks(p); tasks && p.task > 0) {
    Json figures = {{"average_accuracy", tasks->average_accuracy}};
    if (tasks->forgetting) figures["forgetting"] = *tasks->forgetting;
    json["final"].update(figures);
    json["final"]["task_accuracy"] = tasks->accuracy;
    json["tasks"] = std::move(figures);
    json["tasks"]["accuracy"] = p.task_accuracy;
  }
  return json;
}

}  // namespace tributary
