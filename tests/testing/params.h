// Builders of small layouts, parameters and updates, and a matcher that compares parameters.
//
//   LayoutPtr layout = TinyLayout();
//   EXPECT_THAT(optimized, ParamsNear({1, 2, 3, 4, 5, 6, 7, 8, 0.5, 0.25}, 1e-6));
#ifndef TRIBUTARY_TESTS_TESTING_PARAMS_H_
#define TRIBUTARY_TESTS_TESTING_PARAMS_H_

#include <initializer_list>
#include <memory>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/params/param_layout.h"
#include "common/params/param_vector.h"
#include "common/params/update.h"
#include "gmock/gmock.h"

namespace tributary::test {

// Of tensors that are known to be good.
LayoutPtr MakeLayout(std::vector<ParamLayout::Tensor> tensors);

// "fc.weight" [2, 3] and "fc.bias" [2], trainable, then the buffer "bn.mean" [2].
LayoutPtr TinyLayout();

// One trainable tensor "w" [trainable] and, unless `buffers` is 0, one buffer "b" [buffers].
LayoutPtr FlatLayout(int64_t trainable, int64_t buffers = 0);

// `values`: [layout->size()], trainable, then buffers.
ParamVector MakeParams(LayoutPtr layout, std::vector<float> values);

// Normal values of standard deviation `scale`; the same for the same seed.
ParamVector RandomParams(LayoutPtr layout, uint64_t seed, float scale = 1.0F);

// The values behind a dense payload as decoding would give them. [layout->trainable_size()]
std::unique_ptr<const DeltaPayload> MakeDelta(LayoutPtr layout, std::vector<float> values);

// An update that carries `delta`'s trainable part as its delta and its buffers as buffers.
Update MakeUpdate(const ParamVector& delta, UpdateInfo info);

// Matches a ParamVector, or anything that converts to absl::Span<const float>, whose values
// differ from the expected ones by at most `tolerance` each; 0 means equal. A NaN is near
// nothing. Says which coordinate is furthest off, and of which tensor.
class ParamsNearMatcher {
 public:
  ParamsNearMatcher(std::vector<float> expected, double tolerance)
      : expected_(std::move(expected)), tolerance_(tolerance) {}

  bool MatchAndExplain(const ParamVector& actual, ::testing::MatchResultListener* listener) const {
    return Compare(actual.values(), actual.layout().get(), listener);
  }
  bool MatchAndExplain(absl::Span<const float> actual,
                       ::testing::MatchResultListener* listener) const {
    return Compare(actual, nullptr, listener);
  }
  void DescribeTo(std::ostream* out) const;
  void DescribeNegationTo(std::ostream* out) const;

 private:
  bool Compare(absl::Span<const float> actual, const ParamLayout* layout,
               ::testing::MatchResultListener* listener) const;

  std::vector<float> expected_;
  double tolerance_;
};

inline ::testing::PolymorphicMatcher<ParamsNearMatcher> ParamsNear(absl::Span<const float> expected,
                                                                   double tolerance) {
  return ::testing::MakePolymorphicMatcher(
      ParamsNearMatcher(std::vector<float>(expected.begin(), expected.end()), tolerance));
}
inline ::testing::PolymorphicMatcher<ParamsNearMatcher> ParamsNear(
    std::initializer_list<float> expected, double tolerance) {
  return ParamsNear(absl::Span<const float>(expected.begin(), expected.size()), tolerance);
}
inline ::testing::PolymorphicMatcher<ParamsNearMatcher> ParamsNear(const ParamVector& expected,
                                                                   double tolerance) {
  return ParamsNear(expected.values(), tolerance);
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_PARAMS_H_
