// LoraDelivery: how the sum of a version's adapters goes to the clients.
//
//   stacked       its factors as they are: exact, of rank Σ r_k; every client sees every other's
//   recompressed  the best factors of lower rank. With error feedback the tail is one more block of
//                 the next sum, so that Σ_t sent_t = Σ_t D_t − tail_T: late, but not lost
//   dense         value by value
//
// Whatever is chosen, a module whose factors would have as many values as its product goes dense,
// and exact. The replicas, the server's among them, apply what was sent and nothing else.
#ifndef TRIBUTARY_AGGREGATORS_LORA_DELIVERY_H_
#define TRIBUTARY_AGGREGATORS_LORA_DELIVERY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregators/lora/rank_policy.h"
#include "common/config/schema.h"
#include "common/lora/low_rank.h"
#include "common/lora/module_delta.h"

namespace tributary {

struct LoraDeliveryOptions {
  std::string delivery = "stacked";
  config::Choice rank{
      .name = "energy", .options = {{"share", 0.95}}, .position = {}};  // recompressed only
  bool error_feedback = true;
  int64_t max_tail_rank = 64;

  static void Describe(config::Fields<LoraDeliveryOptions>& fields) { DescribeFor(fields); }
  // For options that have these among others.
  template <typename Options>
  static void DescribeFor(config::Fields<Options>& fields) {
    fields
        .template Add<std::string>(
            "delivery", &Options::delivery,
            "how the sum goes to clients; dense in any case where that is no larger")
        .OneOf({"stacked", "recompressed", "dense"});
    fields
        .template Add<config::Choice>("rank", &Options::rank,
                                      "with recompressed: what is sent of the sum")
        .Alternatives(RankPolicyRegistry().Alternatives());
    fields.template Add<bool>("error_feedback", &Options::error_feedback,
                              "with recompressed: what was not sent is part of the next sum");
    fields
        .template Add<int64_t>("max_tail_rank", &Options::max_tail_rank,
                               "of what waits for the next sum, by module; the rest is lost")
        .Min(1);
  }
};

struct Delivered {
  ModelDelta modules;
  int64_t values = 0;  // that travel
  // Of the recompressed modules: Σ σ² of what was sent, of what waits in the tail, and of what the
  // tail's cap or the lack of a tail lost. Their sum is ‖D + last tail‖_F².
  double sent_energy = 0;
  double tail_energy = 0;
  double dropped_energy = 0;
};

// Thread-compatible.
class LoraDelivery {
 public:
  static absl::StatusOr<std::unique_ptr<LoraDelivery>> Create(const LoraDeliveryOptions& options);

  // Once for each version. A sum that is empty sends what the tail holds. Internal if a
  // decomposition fails, FailedPrecondition if the tail is of other shapes than the sum: nothing
  // is changed then.
  absl::StatusOr<Delivered> Deliver(const LowRankModel& sum);

  // The state between versions.
  const LowRankModel& tail() const { return tail_; }
  void Restore(LowRankModel tail) { tail_ = std::move(tail); }

 private:
  LoraDelivery(const LoraDeliveryOptions& options, std::unique_ptr<RankPolicy> policy)
      : options_(options), policy_(std::move(policy)) {}

  absl::StatusOr<LowRankModel> WithTail(const LowRankModel& sum) const;
  absl::StatusOr<Delivered> DeliverRecompressed(const LowRankModel& sum);

  const LoraDeliveryOptions options_;
  const std::unique_ptr<const RankPolicy> policy_;
  LowRankModel tail_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_DELIVERY_H_
