// RunLog: what a run leaves in its output folder: fleet.json at its start, events.jsonl while it
// goes on, and with keep_updates the updates; metrics.csv, summary.json and model.safetensors at
// its end.
#ifndef TRIBUTARY_SIMULATOR_RUN_LOG_H_
#define TRIBUTARY_SIMULATOR_RUN_LOG_H_

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/params/param_vector.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"
#include "server/coordinator/run_summary.h"

namespace tributary {

// Thread-compatible.
class RunLog {
 public:
  // Makes the folder and starts events.jsonl with a line {"job": …, "simulation": …}: replay
  // needs the first, reports read both. PermissionDenied with the path if it cannot be written.
  static absl::StatusOr<std::unique_ptr<RunLog>> Create(
      const std::string& dir, const JobSpec& job,
      const nlohmann::json& simulation = nlohmann::json());

  // Fleet::ToJson as fleet.json. PermissionDenied with the path.
  absl::Status WriteFleet(const nlohmann::json& fleet);

  void Record(const JobEvent& event);
  void Record(const JobAction& action, absl::Time at);

  // These keep nothing unless the job says keep_updates. PermissionDenied with the path.
  absl::Status KeepFirstModel(const ParamVector& model);
  absl::Status KeepUpdate(WorkOrderId work_order, const std::string& payload);

  absl::Status Finish(const RunSummary& summary, const std::vector<VersionMetrics>& metrics,
                      const ParamVector& model);

 private:
  RunLog(std::string dir, bool keep_updates, std::ofstream events)
      : dir_(std::move(dir)), keep_updates_(keep_updates), events_(std::move(events)) {}

  const std::string dir_;
  const bool keep_updates_;
  std::ofstream events_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_RUN_LOG_H_
