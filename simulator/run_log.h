// RunLog: what a run leaves in its output folder: events.jsonl while it goes on;
// metrics.csv, summary.json and model.safetensors at its end.
#ifndef TRIBUTARY_SIMULATOR_RUN_LOG_H_
#define TRIBUTARY_SIMULATOR_RUN_LOG_H_

#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/params/param_vector.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/events.h"
#include "server/coordinator/job_controller.h"

namespace tributary {

// One row of metrics.csv. Counts are since the start; seconds are virtual.
struct VersionMetrics {
  Version version = 0;
  double virtual_seconds = 0;  // when it was published
  int64_t updates = 0;
  std::optional<double> loss;  // absent: not evaluated
  std::optional<double> accuracy;
  int64_t uplink_bytes = 0;
  int64_t downlink_bytes = 0;
  int64_t client_steps = 0;
  double server_rate = 1.0;
  double mean_staleness = 0;  // of the updates in this version
};

// What summary.json is made from, beside the metrics.
struct RunSummary {
  std::string name;
  int64_t seed = 0;
  std::string config_digest;
  JobProgress progress;
  double virtual_seconds = 0;
  double wall_seconds = 0;
  int64_t peak_rss_bytes = 0;
  int64_t downlink_bytes = 0;
  int64_t uplink_bytes_dense = 0;
  int64_t train_flops = 0;        // in the training whose updates arrived
  int64_t train_flops_dense = 0;  // what the unpruned model would have taken
  int64_t clients = 0;
  std::vector<double> targets;
  nlohmann::json scheduler;
};

// summary.json, the keys of docs/simulator.md.
nlohmann::json SummaryJson(const RunSummary& summary, const std::vector<VersionMetrics>& metrics);

// Thread-compatible.
class RunLog {
 public:
  // Makes the folder and starts events.jsonl with a line {"job": …} that replay needs.
  // PermissionDenied with the path if it cannot be written.
  static absl::StatusOr<std::unique_ptr<RunLog>> Create(const std::string& dir, const JobSpec& job);

  void Record(const JobEvent& event);
  void Record(const JobAction& action, absl::Time at);

  absl::Status Finish(const RunSummary& summary, const std::vector<VersionMetrics>& metrics,
                      const ParamVector& model);

 private:
  RunLog(std::string dir, std::ofstream events)
      : dir_(std::move(dir)), events_(std::move(events)) {}
  std::string dir_;
  std::ofstream events_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_RUN_LOG_H_
