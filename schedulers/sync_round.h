// SyncRoundScheduler: synchronous rounds, each with a cohort drawn at random; what comes after a
// round has ended is dropped. schedulers/rounds.h says how a round goes,
// docs/algorithms/sync_round.md when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_
#define TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "schedulers/rounds.h"

namespace tributary {

struct SyncRoundOptions {
  int64_t clients_per_round = 10;
  std::optional<double> fraction;
  std::optional<int64_t> min_reports;
  absl::Duration deadline_seconds = absl::Minutes(10);
  double over_selection = 1.0;
  std::optional<int64_t> min_available;
  std::string on_loss = "replace";

  static void Describe(config::Fields<SyncRoundOptions>& fields);
  absl::Status Validate() const;
  RoundRules Rules() const;
};

class SyncRoundScheduler final : public RoundScheduler {
 public:
  using Options = SyncRoundOptions;

  // InvalidArgument as Options::Validate.
  static absl::StatusOr<std::unique_ptr<SyncRoundScheduler>> Create(const Options& options,
                                                                    const SchedulerDeps& deps);

 private:
  using RoundScheduler::RoundScheduler;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_
