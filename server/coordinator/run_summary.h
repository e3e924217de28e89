// The figures of a run: the rows of metrics.csv and the keys of summary.json, in the one form in
// which the simulator leaves them and a live job is exported.
#ifndef TRIBUTARY_SERVER_COORDINATOR_RUN_SUMMARY_H_
#define TRIBUTARY_SERVER_COORDINATOR_RUN_SUMMARY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/coordinator/job_controller.h"

namespace tributary {

// One row of metrics.csv. Counts are since the start; seconds are virtual, or of the wall clock
// where a job ran live.
struct VersionMetrics {
  Version version = 0;
  double virtual_seconds = 0;  // when it was published
  int64_t updates = 0;
  std::optional<double> loss;  // absent: not evaluated
  std::optional<double> accuracy;
  int64_t uplink_bytes = 0;
  std::optional<int64_t> downlink_bytes;  // absent: not known
  int64_t client_steps = 0;
  double server_rate = 1.0;
  double mean_staleness = 0;  // of the updates in this version
  double client_rate = 1.0;
  JobPhase phase = JobPhase::kInitialise;   // that made it
  int64_t task = 0;                         // that was being learnt, from 0
  std::map<int64_t, double> task_accuracy;  // of the tasks that were evaluated

  // Of a version that the controller, whose progress this is, is about to be told of.
  static VersionMetrics Of(const event::VersionPublished& published, double virtual_seconds,
                           const JobProgress& before);
  // Once it has been told.
  void AddCounts(const JobProgress& after);
  void AddEvaluation(const action::RecordEvaluation& evaluation);
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
  double utilisation = 0;  // VirtualClients::Utilisation
  std::vector<double> targets;
  nlohmann::json scheduler;
};

// Of a job that has learnt tasks and evaluated all of them so far at the end of each.
struct TaskFigures {
  std::vector<double> accuracy;  // by task, now
  double average_accuracy = 0;   // their mean
  // How much of it was lost since each task was learnt, the last one aside (FGT; Chaudhry et al.
  // 2018 take the best instead of the first). Absent with one task.
  std::optional<double> forgetting;
};
std::optional<TaskFigures> FiguresOfTasks(const JobProgress& progress);

// With a column accuracy_task_K for each task that was evaluated, if there is more than one.
std::string MetricsCsv(const std::vector<VersionMetrics>& metrics);
// summary.json, the keys of docs/simulator.md.
nlohmann::json SummaryJson(const RunSummary& summary, const std::vector<VersionMetrics>& metrics);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_RUN_SUMMARY_H_
