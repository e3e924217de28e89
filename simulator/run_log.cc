#include "simulator/run_log.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/coordinator/run_record.h"

namespace tributary {
namespace {

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return absl::PermissionDeniedError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunLog>> RunLog::Create(const std::string& dir, const JobSpec& job,
                                                       const nlohmann::json& simulation) {
  std::error_code error;
  std::filesystem::create_directories(job.keep_updates ? dir + "/updates" : dir, error);
  // An earlier run's must not stand beside this one's events.
  for (const char* file : {"summary.json", "report.html"}) {
    std::filesystem::remove(absl::StrCat(dir, "/", file), error);
  }
  const std::string path = absl::StrCat(dir, "/events.jsonl");
  std::ofstream events(path, std::ios::binary | std::ios::trunc);
  if (error || !events) return absl::PermissionDeniedError(absl::StrCat("cannot write ", path));
  nlohmann::json first = FirstLine(job, absl::UnixEpoch());
  if (!simulation.is_null()) first["simulation"] = simulation;
  events << ToLine(first) << '\n';
  return std::unique_ptr<RunLog>(new RunLog(dir, job.keep_updates, std::move(events)));
}

absl::Status RunLog::WriteFleet(const nlohmann::json& fleet) {
  return WriteText(absl::StrCat(dir_, "/fleet.json"), fleet.dump() + "\n");
}

void RunLog::Record(const JobEvent& event) { events_ << ToJson(event).dump() << '\n'; }

void RunLog::Record(const JobAction& action, absl::Time at) {
  events_ << ToJson(action, at).dump() << '\n';
}

absl::Status RunLog::KeepFirstModel(const ParamVector& model) {
  if (!keep_updates_) return absl::OkStatus();
  return WriteSafetensors(model, absl::StrCat(dir_, "/updates/", kFirstModelFile));
}

absl::Status RunLog::KeepUpdate(WorkOrderId work_order, const std::string& payload) {
  if (!keep_updates_) return absl::OkStatus();
  return WriteText(absl::StrCat(dir_, "/updates/", UpdateFile(work_order)), payload);
}

absl::Status RunLog::Finish(const RunSummary& summary, const std::vector<VersionMetrics>& metrics,
                            const ParamVector& model) {
  events_.close();
  if (!events_)
    return absl::ResourceExhaustedError(absl::StrCat("cannot write ", dir_, "/events.jsonl"));
  TRIB_RETURN_IF_ERROR(WriteText(absl::StrCat(dir_, "/metrics.csv"), MetricsCsv(metrics)));
  TRIB_RETURN_IF_ERROR(
      WriteSafetensors(model, absl::StrCat(dir_, "/model.safetensors"),
                       {{"tributary.job", summary.name},
                        {"tributary.version", absl::StrCat(summary.progress.version)},
                        {"tributary.model_digest", summary.progress.model_digest.ToHex()}}));
  // Last: a folder with a summary is a finished run.
  return WriteText(absl::StrCat(dir_, "/summary.json"),
                   SummaryJson(summary, metrics).dump(2) + "\n");
}

}  // namespace tributary
