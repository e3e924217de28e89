// FedAvgAggregator: the weighted mean of the updates (McMahan et al. 2017, Algorithm 1).
//
//   delta = Σ w_u·delta_u / Σ w_u      buffers = Σ w_u·buffers_u / Σ w_u
//
//   u    over the updates, in the order of Accumulate
//   w_u  `examples`: u's num_examples; `uniform`: 1
//
// The sums are float32 and Σ w_u is a double. Buffers never enter the delta.
#ifndef TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_
#define TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_

#include <memory>
#include <string>

#include "aggregators/combine/aggregator.h"
#include "common/config/schema.h"

namespace tributary {

struct FedAvgOptions {
  std::string weights = "examples";

  static void Describe(config::Fields<FedAvgOptions>& fields);
};

class FedAvgAggregator final : public Aggregator {
 public:
  using Options = FedAvgOptions;

  static absl::StatusOr<std::unique_ptr<FedAvgAggregator>> Create(const Options& options,
                                                                  const AggregatorDeps& deps);

  absl::Status Accumulate(const Update& update, const Contribution& about) override;
  absl::Status MergeFrom(const Aggregator& other) override;

  // Little-endian: "TFA1", weights (u8: 0 examples, 1 uniform), layout digest (32 bytes),
  // updates (i64), num_examples (i64), Σ w (f64), then the sums (f32 × layout size).
  std::string Serialize() const override;
  absl::Status Restore(absl::string_view state) override;

  absl::StatusOr<Aggregate> Finish() && override;

 private:
  FedAvgAggregator(bool by_examples, const AggregatorDeps& deps);

  const bool by_examples_;
  const LayoutPtr layout_;
  Parallel* const parallel_;
  Aggregate sum_;  // Σ w·x, not yet divided
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_
