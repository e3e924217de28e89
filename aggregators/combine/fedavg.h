// FedAvgAggregator: the weighted mean of the updates (McMahan et al. 2017, Algorithm 1).
//
//   delta = Σ w_u·delta_u / Σ w_u      buffers = Σ w_u·buffers_u / Σ w_u
//
//   u    over the updates, in the order of Accumulate
//   w_u  update_weights.h
//
// With given coefficients: delta = Σ c_u·delta_u, not divided, and buffers = the plain mean.
//
// The sums are float32 and Σ w_u is a double. Buffers never enter the delta.
#ifndef TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_
#define TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_

#include <memory>
#include <string>

#include "aggregators/combine/aggregator.h"
#include "aggregators/combine/update_weights.h"

namespace tributary {

class FedAvgAggregator final : public Aggregator {
 public:
  using Options = UpdateWeightOptions;

  static absl::StatusOr<std::unique_ptr<FedAvgAggregator>> Create(const Options& options,
                                                                  const AggregatorDeps& deps);

  absl::Status Accumulate(const Update& update, const Contribution& about) override;
  absl::Status MergeFrom(const Aggregator& other) override;

  // Little-endian: "TFA2", weights (u8: 0 examples, 1 uniform, 2 given), layout digest (32 bytes),
  // updates (i64), num_examples (i64), Σ w (f64), Σ w·‖delta‖² (f64), then the sums (f32 × layout
  // size).
  std::string Serialize() const override;
  absl::Status Restore(absl::string_view state) override;

  bool CountsByExamples() const override { return weights_.by_examples(); }
  absl::StatusOr<Aggregate> Finish() && override;

 private:
  FedAvgAggregator(UpdateWeights weights, const AggregatorDeps& deps);
  uint8_t WeightsTag() const;
  void Divide(absl::Span<float> values, double by) const;

  const UpdateWeights weights_;
  const LayoutPtr layout_;
  Parallel* const parallel_;
  const bool squared_norms_;
  Aggregate sum_;  // Σ w·x, not yet divided
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_COMBINE_FEDAVG_H_
