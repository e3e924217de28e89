// What an update counts beside the others of a version:
//
//   w_u = n_u·s(τ_u)    n_u  num_examples with `examples`, 1 with `uniform`
//                       s    the staleness function (common/staleness.h) of τ_u, the versions
//                            published since u's base
//
// or the scheduler's coefficient, where it sets those.
#ifndef TRIBUTARY_AGGREGATORS_COMBINE_UPDATE_WEIGHTS_H_
#define TRIBUTARY_AGGREGATORS_COMBINE_UPDATE_WEIGHTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregators/combine/aggregator.h"
#include "common/config/schema.h"
#include "common/staleness.h"

namespace tributary {

struct UpdateWeightOptions {
  std::string weights = "examples";
  config::Choice staleness = ConstantStaleness();

  static void Describe(config::Fields<UpdateWeightOptions>& fields) { DescribeFor(fields); }
  // For options that have these among others.
  template <typename Options>
  static void DescribeFor(config::Fields<Options>& fields) {
    fields
        .template Add<std::string>(
            "weights", &Options::weights,
            "an update's weight: its number of examples, or the same for all")
        .OneOf({"examples", "uniform"});
    fields
        .template Add<config::Choice>("staleness", &Options::staleness,
                                      "factor on the weight of an update that is versions behind")
        .Alternatives(StalenessRegistry().Alternatives());
  }
};

// Immutable, thread-safe.
class UpdateWeights {
 public:
  // `given`: Of is the coefficient. InvalidArgument: the staleness function's options.
  static absl::StatusOr<UpdateWeights> Create(const UpdateWeightOptions& options, bool given);

  // From 0. InvalidArgument: num_examples out of range, a coefficient that is negative or not
  // finite.
  absl::StatusOr<double> Of(const UpdateInfo& info, const Contribution& about) const;

  bool by_examples() const { return kind_ == Kind::kExamples; }
  bool given() const { return kind_ == Kind::kGiven; }

 private:
  enum class Kind { kExamples, kUniform, kGiven };

  UpdateWeights(Kind kind, std::shared_ptr<const StalenessFunction> staleness)
      : kind_(kind), staleness_(std::move(staleness)) {}

  Kind kind_;
  std::shared_ptr<const StalenessFunction> staleness_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_COMBINE_UPDATE_WEIGHTS_H_
