// SimulationFile: a whole file of tributary-sim: `job:` as it would be submitted, and
// `simulation:`, the world that it runs in.
#ifndef TRIBUTARY_SIMULATOR_SIMULATION_SPEC_H_
#define TRIBUTARY_SIMULATOR_SIMULATION_SPEC_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/data/dataset_spec.h"
#include "common/config/schema.h"
#include "server/coordinator/job_spec.h"

namespace tributary {

// Absent: transfers take no time.
struct NetworkSpec {
  double uplink_mbps = 10;    // 10^6 bits a second, client to server
  double downlink_mbps = 50;  // and back
  double latency_ms = 40;     // added to every transfer
  // Both of a client's rates are multiplied by e^(spread · z), z ~ N(0, 1) drawn once: the rates
  // above are the median's.
  double spread = 0;
  std::optional<std::string> trace;  // a file with each client's three figures instead
  static void Describe(config::Fields<NetworkSpec>& fields);
  absl::Status Validate() const;  // not both spread and trace
};

// A share of the clients, drawn; each at a time drawn uniformly from 0 to by_seconds.
struct ShareSpec {
  double share = 0;
  absl::Duration by_seconds;
  static void Describe(config::Fields<ShareSpec>& fields);
};

struct AvailabilitySpec {
  double dropout = 0;                          // probability that a training order is lost
  config::Choice online = {.name = "always"};  // online.h
  std::optional<ShareSpec> vanishing;          // gone for good, without a word
  std::optional<ShareSpec> late_joiners;       // first check-in then and not at the start
  static void Describe(config::Fields<AvailabilitySpec>& fields);
};

// From a time on, the step time of a share of the clients, drawn, is multiplied by a factor.
struct SpeedChangeSpec {
  absl::Duration at_seconds;
  double share = 1;
  double factor = 1;
  static void Describe(config::Fields<SpeedChangeSpec>& fields);
};

// When a client's data are of the next task; it says so with its next check-in, or at once if it is
// idle. It keeps those of earlier tasks, for orders that name them.
struct DataMovesSpec {
  std::optional<absl::Duration> every_seconds;   // of virtual time, for all at once
  std::optional<int64_t> every_training_orders;  // that the client was given
  static void Describe(config::Fields<DataMovesSpec>& fields);
  absl::Status Validate() const;  // one of them
};

struct SimulationSpec {
  int64_t seed = 1;
  int64_t clients = 10;
  DatasetSpec data;
  config::Choice speed = DefaultSpeed();
  std::vector<SpeedChangeSpec> speed_changes;
  std::optional<NetworkSpec> network;
  AvailabilitySpec availability;
  std::optional<DataMovesSpec> data_moves;  // absent: clients report the first task
  std::vector<double> targets;              // accuracies whose first time is reported

  static config::Choice DefaultSpeed();
  static void Describe(config::Fields<SimulationSpec>& fields);
};

struct SimulationFile {
  JobSpec job;  // job.seed is simulation.seed
  SimulationSpec simulation;
  std::shared_ptr<const std::string> program;  // that job.model.program stands for, or null
  config::Node source;                         // as it was read, for positions

  // InvalidArgument: "<file>:<line>:<column>: <path>: <message of why>". `why` is not OK.
  absl::Status Refuse(absl::string_view path, const absl::Status& why) const;
};

// What the command line changes before a file is read as values.
struct Overrides {
  std::optional<int64_t> seed;
  std::vector<std::string> set;  // "path=value": job.stop.versions=5
};

// Paths in the file are relative to its folder; in the result they are relative to the
// process's. NotFound: no such file. InvalidArgument: every error with its line, one a line.
absl::StatusOr<SimulationFile> ReadSimulationFile(const std::string& path,
                                                  const Overrides& overrides = {});

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_SIMULATION_SPEC_H_
