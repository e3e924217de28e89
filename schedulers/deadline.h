// DeadlineScheduler: rounds that do not wait for stragglers. More clients are asked than needed; a
// round closes at its goal or at its deadline, whichever is first; and an update that comes
// later is dropped, or folded into the next round's version (over-selection and deadlines:
// Bonawitz et al. 2019, section 2.2; late updates with less weight: SAFA, Wu et al. 2021).
//
// A folded update has a staleness: the combine rule damps it (fedavg's `staleness`).
// schedulers/rounds.h says how a round goes, docs/algorithms/deadline.md when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_DEADLINE_H_
#define TRIBUTARY_SCHEDULERS_DEADLINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "schedulers/rounds.h"

namespace tributary {

struct DeadlineOptions {
  int64_t clients_per_round = 10;
  std::optional<double> fraction;
  int64_t min_reports = 1;
  absl::Duration deadline_seconds = absl::Minutes(10);
  double over_selection = 1.3;
  std::optional<int64_t> min_available;
  std::string late = "drop";

  static void Describe(config::Fields<DeadlineOptions>& fields);
  absl::Status Validate() const;
  RoundRules Rules() const;
};

class DeadlineScheduler final : public RoundScheduler {
 public:
  using Options = DeadlineOptions;

  // InvalidArgument as Options::Validate.
  static absl::StatusOr<std::unique_ptr<DeadlineScheduler>> Create(const Options& options,
                                                                   const SchedulerDeps& deps);

 private:
  using RoundScheduler::RoundScheduler;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_DEADLINE_H_
