#include "tests/testing/params.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/codec/dense_payload.h"
#include "common/codec/raw.h"
#include "common/rng.h"

namespace tributary::test {
namespace {

std::string Place(size_t index, const ParamLayout* layout) {
  std::string place = "index " + std::to_string(index);
  if (layout == nullptr) return place;
  for (const ParamLayout::Tensor& tensor : layout->tensors()) {
    const int64_t at = static_cast<int64_t>(index) - tensor.offset;
    if (at >= 0 && at < tensor.size) {
      place += " (" + tensor.name + "[" + std::to_string(at) + "])";
    }
  }
  return place;
}

std::unique_ptr<const DeltaPayload> DenseDelta(LayoutPtr layout, absl::Span<const float> values) {
  const auto format = std::make_shared<RawFormat>();
  std::string bytes;
  format->Encode(values, Rng(0), bytes);
  return DensePayload::Create(std::move(layout), "raw", format, std::move(bytes)).value();
}

}  // namespace

LayoutPtr MakeLayout(std::vector<ParamLayout::Tensor> tensors) {
  absl::StatusOr<LayoutPtr> layout = ParamLayout::Create(std::move(tensors));
  if (!layout.ok()) std::cerr << layout.status() << "\n";
  TRIB_CHECK(layout.ok());
  return *std::move(layout);
}

LayoutPtr TinyLayout() {
  return MakeLayout({{.name = "fc.weight", .shape = {2, 3}},
                     {.name = "fc.bias", .shape = {2}},
                     {.name = "bn.mean", .shape = {2}, .kind = TensorKind::kBuffer}});
}

LayoutPtr FlatLayout(int64_t trainable, int64_t buffers) {
  std::vector<ParamLayout::Tensor> tensors = {{.name = "w", .shape = {trainable}}};
  if (buffers != 0) {
    tensors.push_back({.name = "b", .shape = {buffers}, .kind = TensorKind::kBuffer});
  }
  return MakeLayout(std::move(tensors));
}

ParamVector MakeParams(LayoutPtr layout, std::vector<float> values) {
  TRIB_CHECK(static_cast<int64_t>(values.size()) == layout->size());
  ParamVector params(std::move(layout));
  std::copy(values.begin(), values.end(), params.values().begin());
  return params;
}

ParamVector RandomParams(LayoutPtr layout, uint64_t seed, float scale) {
  ParamVector params(std::move(layout));
  Rng rng(seed);
  for (float& value : params.values()) value = static_cast<float>(rng.Normal(0.0, scale));
  return params;
}

std::unique_ptr<const DeltaPayload> MakeDelta(LayoutPtr layout, std::vector<float> values) {
  TRIB_CHECK(static_cast<int64_t>(values.size()) == layout->trainable_size());
  return DenseDelta(std::move(layout), values);
}

Update MakeUpdate(const ParamVector& delta, UpdateInfo info) {
  Update update;
  update.info = info;
  update.delta = DenseDelta(delta.layout(), delta.trainable());
  update.buffers.assign(delta.buffers().begin(), delta.buffers().end());
  return update;
}

void ParamsNearMatcher::DescribeTo(std::ostream* out) const {
  *out << "is " << expected_.size() << " values within " << tolerance_ << " of "
       << ::testing::PrintToString(expected_);
}

void ParamsNearMatcher::DescribeNegationTo(std::ostream* out) const {
  *out << "is not ";
  DescribeTo(out);
}

bool ParamsNearMatcher::Compare(absl::Span<const float> actual, const ParamLayout* layout,
                                ::testing::MatchResultListener* listener) const {
  if (actual.size() != expected_.size()) {
    *listener << "which has " << actual.size() << " values";
    return false;
  }
  double worst = -1.0;
  size_t where = 0;
  for (size_t i = 0; i < actual.size() && !std::isnan(worst); ++i) {
    const double off = std::abs(static_cast<double>(actual[i]) - expected_[i]);
    if (actual[i] != expected_[i] && !(off <= worst)) {
      worst = off;
      where = i;
    }
  }
  if (worst <= tolerance_) return true;
  *listener << "which is off by " << worst << " at " << Place(where, layout) << ": "
            << actual[where] << " instead of " << expected_[where];
  return false;
}

}  // namespace tributary::test
