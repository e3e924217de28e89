#include "schedulers/deadline.h"

#include "common/status_macros.h"

namespace tributary {

void DeadlineOptions::Describe(config::Fields<DeadlineOptions>& fields) {
  DescribeRounds(fields);
  fields
      .Add("min_reports", &DeadlineOptions::min_reports,
           "updates with which a round may close before its goal")
      .Min(1);
  fields
      .Add("min_available", &DeadlineOptions::min_available,
           "idle clients without which no round starts; absent: min_reports")
      .Min(1);
  fields
      .Add("late", &DeadlineOptions::late,
           "an update that comes after its round: drop it, or fold it into the next close")
      .OneOf({"drop", "fold"});
}

RoundRules DeadlineOptions::Rules() const {
  return {.name = "deadline",
          .clients_per_round = clients_per_round,
          .fraction = fraction,
          .min_reports = min_reports,
          .min_available = min_available.value_or(min_reports),
          .deadline = deadline_seconds,
          .over_selection = over_selection,
          .replace_lost = true,
          .fold_late = late == "fold"};
}

absl::Status DeadlineOptions::Validate() const { return Rules().Validate(); }

absl::StatusOr<std::unique_ptr<DeadlineScheduler>> DeadlineScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<DeadlineScheduler>(new DeadlineScheduler(options.Rules(), deps.rng));
}

}  // namespace tributary
