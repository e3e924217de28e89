// The options of the compass scheduler, as they stand in a job file and as they are in force.
//
//   scheduler:
//     compass: {preset: adaptive, max_local_steps: 100}
//
// A preset sets what is not set: `faithful` is FedCompass as published, `adaptive` the extensions
// that docs/algorithms/scheduling.md found to help.
#ifndef TRIBUTARY_SCHEDULERS_COMPASS_OPTIONS_H_
#define TRIBUTARY_SCHEDULERS_COMPASS_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/config/schema.h"
#include "common/staleness.h"

namespace tributary {

struct CompassOptions {
  std::string preset = "faithful";
  std::optional<int64_t> min_local_steps;      // Qmin
  int64_t max_local_steps = 100;               // Qmax
  std::optional<int64_t> initial_local_steps;  // Q0
  std::optional<int64_t> join_limit;           // Qcap
  double latest_time_factor = 1.2;             // λ
  double speed_momentum = 0.9;                 // ρ
  std::optional<double> mixing_rate;           // α
  std::optional<config::Choice> staleness;     // s
  std::optional<std::string> weights;          // p
  int64_t expected_clients = 1;
  bool normalize_steps = false;
  std::string time_model = "scalar";
  double admission_margin = 0;
  std::optional<std::string> bounds;
  int64_t lowest_local_steps = 1;
  std::optional<std::string> participation;
  std::optional<double> participation_cap;
  std::optional<std::string> first_round;
  std::optional<std::string> fast_join;

  static void Describe(config::Fields<CompassOptions>& fields);
  absl::Status Validate() const;
};

// With the preset applied; ratios in millionths.
struct ResolvedCompassOptions {
  int64_t min_steps = 0, max_steps = 0, first_steps = 0, join_limit = 0;
  int64_t lateness_ppm = 0;  // λ
  int64_t momentum_ppm = 0;  // ρ
  double mixing_rate = 0;
  config::Choice staleness;
  bool by_examples = false;
  int64_t expected_clients = 0;
  bool normalize_steps = false;
  bool affine = false;
  double admission_margin = 0;
  bool auto_bounds = false;
  int64_t lowest_steps = 0;                 // of auto_bounds
  std::optional<double> participation_cap;  // absent: every client counts alike
  bool first_group = false;
  bool fast_idles = false;
};
ResolvedCompassOptions Resolve(const CompassOptions& options);

// What is allowed and probably not meant, in words.
std::vector<std::string> CompassWarnings(const ResolvedCompassOptions& options);

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_COMPASS_OPTIONS_H_
