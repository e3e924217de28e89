// Fleet: what the simulator drew for each client, read from a run's fleet.json. A live run has
// none.
#ifndef TRIBUTARY_SIMULATOR_REPORT_FLEET_H_
#define TRIBUTARY_SIMULATOR_REPORT_FLEET_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tributary::report {

struct FleetClient {
  std::optional<double> seconds_per_step;
  std::optional<double> uplink_mbps;  // 10^6 bits a second
  std::optional<double> downlink_mbps;
  std::optional<double> latency_ms;
  std::optional<int64_t> examples;
  std::optional<double> joins_at_seconds;
  std::optional<double> vanishes_at_seconds;  // for good, without a word
};

// From `at` on a step takes `factor` times as long; the factors of several changes multiply.
struct SpeedChange {
  double at = 0;
  double factor = 1;
  std::set<std::string> clients;
};

struct Fleet {
  std::map<std::string, FleetClient> clients;  // by id
  std::vector<SpeedChange> speed_changes;

  // What a step of the client takes at that time; nothing if it is not known.
  std::optional<double> SecondsPerStep(const std::string& client, double at) const;
};

// Empty if there is no such file. InvalidArgument, "<path>: client 3: …": not a fleet.
absl::StatusOr<Fleet> ReadFleet(const std::string& path);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_FLEET_H_
