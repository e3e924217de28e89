// SimulationFile: a whole file of tributary-sim: `job:` as it would be submitted, and
// `simulation:`, the world that it runs in.
#ifndef TRIBUTARY_SIMULATOR_SIMULATION_SPEC_H_
#define TRIBUTARY_SIMULATOR_SIMULATION_SPEC_H_

#include <cstdint>
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
  static void Describe(config::Fields<NetworkSpec>& fields);
};

struct SimulationSpec {
  int64_t seed = 1;
  int64_t clients = 10;
  DatasetSpec data;
  config::Choice speed = DefaultSpeed();
  std::optional<NetworkSpec> network;
  std::vector<double> targets;  // accuracies whose first time is reported

  static config::Choice DefaultSpeed();
  static void Describe(config::Fields<SimulationSpec>& fields);
};

struct SimulationFile {
  JobSpec job;  // job.seed is simulation.seed
  SimulationSpec simulation;
  config::Node source;  // as it was read, for positions

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
