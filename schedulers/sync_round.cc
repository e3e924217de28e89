#include "schedulers/sync_round.h"

#include "common/status_macros.h"

namespace tributary {

void SyncRoundOptions::Describe(config::Fields<SyncRoundOptions>& fields) {
  DescribeRounds(fields);
  fields
      .Add("min_reports", &SyncRoundOptions::min_reports,
           "updates with which a round may close before its goal; absent: the goal")
      .Min(1);
  fields
      .Add("min_available", &SyncRoundOptions::min_available,
           "idle clients without which no round starts; absent: the goal")
      .Min(1);
  fields
      .Add("on_loss", &SyncRoundOptions::on_loss,
           "a lost client: replace it by another one, or close with the rest")
      .OneOf({"replace", "close"});
}

RoundRules SyncRoundOptions::Rules() const {
  return {.name = "sync_round",
          .clients_per_round = clients_per_round,
          .fraction = fraction,
          .min_reports = min_reports,
          .min_available = min_available,
          .deadline = deadline_seconds,
          .over_selection = over_selection,
          .replace_lost = on_loss == "replace",
          .fold_late = false};
}

absl::Status SyncRoundOptions::Validate() const { return Rules().Validate(); }

absl::StatusOr<std::unique_ptr<SyncRoundScheduler>> SyncRoundScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<SyncRoundScheduler>(new SyncRoundScheduler(options.Rules(), deps.rng));
}

}  // namespace tributary
