#include "server/coordinator/run_summary.h"

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

// Accuracies by task, their mean after the last task, and how much of them was lost since each task
// was learnt, the last one aside (FGT; Chaudhry et al. 2018 take the best instead of the first).
Json TasksJson(const std::vector<std::vector<double>>& accuracy) {
  const std::vector<double>& last = accuracy.back();
  double sum = 0, lost = 0;
  for (size_t j = 0; j < last.size(); ++j) {
    sum += last[j];
    if (j + 1 < last.size()) lost += accuracy[j].back() - last[j];
  }
  Json tasks = {{"accuracy", accuracy},
                {"average_accuracy", sum / static_cast<double>(last.size())}};
  if (last.size() > 1) tasks["forgetting"] = lost / static_cast<double>(last.size() - 1);
  return tasks;
}

bool IsComplete(const std::vector<std::vector<double>>& accuracy) {
  for (size_t t = 0; t < accuracy.size(); ++t) {
    if (accuracy[t].size() != t + 1) return false;
  }
  return !accuracy.empty();
}

}  // namespace

std::string MetricsCsv(const std::vector<VersionMetrics>& metrics) {
  std::string csv =
      "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,client_steps,"
      "server_rate,mean_staleness,client_rate\n";
  for (const VersionMetrics& m : metrics) {
    absl::StrAppend(&csv, m.version, ",", Number(m.virtual_seconds), ",", m.updates, ",",
                    Number(m.loss), ",", Number(m.accuracy), ",", m.uplink_bytes, ",",
                    Number(m.downlink_bytes), ",");
    absl::StrAppend(&csv, m.client_steps, ",", Number(m.server_rate), ",", Number(m.mean_staleness),
                    ",", Number(m.client_rate), "\n");
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
  if (p.task > 0 && IsComplete(p.task_accuracy)) json["tasks"] = TasksJson(p.task_accuracy);
  return json;
}

}  // namespace tributary
