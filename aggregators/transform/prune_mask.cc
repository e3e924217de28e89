#include "aggregators/transform/prune_mask.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

using Tensor = ParamLayout::Tensor;

constexpr int64_t kBitsPerValue = 24;

template <typename T>
absl::Span<T> Part(absl::Span<T> of, const Tensor& tensor) {
  return of.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
}

// ⌈share·n⌉; a share such as 0.7, which no double is, counts as what was meant.
int64_t CountOf(double share, int64_t n) {
  const double exact = share * static_cast<double>(n);
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(exact * (1 - 1e-12))), 0, n);
}

// The value below which the share q lies, between neighbours by proportion.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

// v ← (v − centre) / spread; all 1, kept, if the tensor has no spread: nothing tells its weights
// apart.
void Normalize(const std::string& how, const Tensor& tensor, absl::Span<double> v) {
  if (how == "none") return;
  std::vector<double> sorted(v.begin(), v.end());
  std::sort(sorted.begin(), sorted.end());
  const bool robust = how == "robust";
  const double centre = robust ? Quantile(sorted, 0.5) : sorted.front();
  const double spread =
      robust ? Quantile(sorted, 0.75) - Quantile(sorted, 0.25) : sorted.back() - sorted.front();
  if (!(spread > 0)) {
    log::Warning("exploration does not tell the tensor's weights apart: all are kept",
                 {{"tensor", tensor.name}});
    std::fill(v.begin(), v.end(), 1.0);
    return;
  }
  for (double& x : v) x = (x - centre) / spread;
}

// The `count` of `order` with the largest score come first, smaller indices before larger ones.
void PutBestFirst(absl::Span<const double> score, int64_t count, std::vector<int64_t>& order) {
  const auto better = [&](int64_t a, int64_t b) {
    const double x = score[static_cast<size_t>(a)], y = score[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (count < static_cast<int64_t>(order.size())) {
    std::nth_element(order.begin(), order.begin() + count, order.end(), better);
  }
}

// Raises the best `count` of the indices from `begin` to `end` above everything else.
void Protect(int64_t begin, int64_t end, int64_t count, std::vector<double>& score) {
  std::vector<int64_t> order(static_cast<size_t>(end - begin));
  std::iota(order.begin(), order.end(), begin);
  PutBestFirst(score, count, order);
  for (int64_t i = 0; i < count; ++i) {
    score[static_cast<size_t>(order[static_cast<size_t>(i)])] =
        std::numeric_limits<double>::infinity();
  }
}

std::vector<bool> Unpack(absl::Span<const float> packed, int64_t size) {
  std::vector<bool> keep(static_cast<size_t>(size));
  for (size_t i = 0; i < keep.size(); ++i) {
    keep[i] = (static_cast<uint32_t>(packed[i / kBitsPerValue]) >> i % kBitsPerValue & 1) != 0;
  }
  return keep;
}

absl::StatusOr<ParamVector> Pack(const std::vector<bool>& keep) {
  const auto size = static_cast<int64_t>(keep.size());
  TRIB_ASSIGN_OR_RETURN(
      LayoutPtr layout,
      ParamLayout::Create(
          {{.name = "mask", .shape = {(size + kBitsPerValue - 1) / kBitsPerValue}}}));
  ParamVector packed(std::move(layout));
  for (size_t i = 0; i < keep.size(); ++i) {
    if (!keep[i]) continue;
    packed.values()[i / kBitsPerValue] += static_cast<float>(uint32_t{1} << i % kBitsPerValue);
  }
  return packed;
}

}  // namespace

void PruneMaskOptions::Describe(config::Fields<PruneMaskOptions>& fields) {
  using O = PruneMaskOptions;
  fields.Add("quantile", &O::quantile, "share of the weights to prune").Min(0).LessThan(1);
  fields.Add("density", &O::density, "instead: share of the weights to keep").GreaterThan(0).Max(1);
  fields.Add("score", &O::score, "what makes a weight worth keeping; the last three are controls")
      .OneOf({"deviation", "agreement", "magnitude", "random", "inverted"});
  fields.Add("normalization", &O::normalization, "of the scores, tensor by tensor")
      .OneOf({"minmax", "robust", "none"});
  fields.Add("floor", &O::floor, "share that every tensor keeps, and every layer of its units")
      .Min(0)
      .Max(1);
  fields.Add("structured", &O::structured, "remove whole units, filters and what they feed");
  fields.Add("width", &O::width, "structured: share of the units that every hidden layer keeps")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("unit_threshold", &O::unit_threshold,
           "structured, without `width`: a unit stays if this share of its weights would")
      .Min(0)
      .Max(1);
  fields.Add("seed", &O::seed, "of score `random`");
  fields
      .Add("every_versions", &O::every_versions,
           "clients explore again after so many versions of training, and the mask is made anew; "
           "absent: once, before training")
      .Min(1);
  fields.Add("exploration", &O::exploration, "how clients explore");
}

absl::Status PruneMaskOptions::Validate() const {
  if (Density() < floor) {
    return absl::InvalidArgumentError(absl::StrCat("floor is ", floor, ", above the density of ",
                                                   Density(), "; allowed: up to the density"));
  }
  if (width.has_value() && !structured) {
    return absl::InvalidArgumentError("width is of structured pruning; add `structured: true`");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PruneMask>> PruneMask::Create(const Options& options,
                                                             const TransformDeps& deps) {
  std::unique_ptr<PruneMask> made(new PruneMask(options, deps));
  made->request_ = std::make_unique<CollectRequest>(CollectRequest{
      .kind = CollectKind::kExplore, .every_versions = options.every_versions.value_or(0)});
  if (deps.layout == nullptr) return made;
  for (const Tensor& tensor : deps.layout->tensors()) {
    const bool trainable = tensor.kind == TensorKind::kTrainable;
    if (trainable && tensor.shape.size() >= 2 && tensor.size > 0) made->weights_.push_back(&tensor);
  }
  if (made->weights_.empty()) {
    return absl::InvalidArgumentError(
        "prune_mask: the model has no tensor with two or more dimensions; biases are not pruned");
  }
  if (options.structured) {
    auto chain = DeriveLayerChain(*deps.layout);
    if (!chain.ok()) return WithContext(chain.status(), "prune_mask: structured");
    made->chain_ = *std::move(chain);
  }
  TRIB_RETURN_IF_ERROR(made->MakeRequest());
  return made;
}

absl::Status PruneMask::MakeRequest() {
  const bool shift = options_.score == "agreement";
  std::vector<Tensor> tensors;
  for (const bool shifts : {false, true}) {
    for (const Tensor& tensor : deps_.layout->tensors()) {
      if (tensor.kind != TensorKind::kTrainable || (shifts && !shift)) continue;
      tensors.push_back({.name = tensor.name + (shifts ? ".shift" : ""), .shape = tensor.shape});
    }
  }
  auto request = std::make_unique<CollectRequest>(*request_);
  request->options_json = config::Print(options_.exploration).dump();
  TRIB_ASSIGN_OR_RETURN(request->layout, ParamLayout::Create(std::move(tensors)));
  request_ = std::move(request);
  return absl::OkStatus();
}

std::vector<double> PruneMask::Guidance(absl::Span<const double> sum, int64_t contributions,
                                        absl::Span<const float> model) const {
  const size_t size = model.size();
  const auto count = static_cast<double>(contributions);
  std::vector<double> v(size);
  Rng rng(static_cast<uint64_t>(options_.seed));
  for (size_t i = 0; i < size; ++i) {
    const double deviation = sum[i] / count;
    if (options_.score == "agreement") {
      const double mean = sum[size + i] / count;
      v[i] = deviation > 0 ? mean * mean / deviation : 0.0;
    } else if (options_.score == "magnitude") {
      v[i] = std::abs(static_cast<double>(model[i]));
    } else if (options_.score == "random") {
      v[i] = rng.Uniform();
    } else {
      v[i] = options_.score == "inverted" ? -deviation : deviation;
    }
  }
  for (const Tensor* tensor : weights_) {
    Normalize(options_.normalization, *tensor, Part(absl::MakeSpan(v), *tensor));
  }
  return v;
}

std::vector<bool> PruneMask::KeepWeights(absl::Span<const double> guidance) const {
  std::vector<double> score(guidance.begin(), guidance.end());
  // No logit without an input.
  const Tensor& last = *weights_.back();
  const int64_t fan_in = last.size / last.shape[0];
  for (int64_t row = 0; row < last.shape[0]; ++row) {
    const int64_t begin = last.offset + row * fan_in;
    Protect(begin, begin + fan_in, 1, score);
  }
  std::vector<int64_t> order;
  for (const Tensor* tensor : weights_) {
    const int64_t begin = tensor->offset, end = begin + tensor->size;
    for (int64_t i = begin; i < end; ++i) order.push_back(i);
    Protect(begin, end, CountOf(options_.floor, tensor->size), score);
  }
  const int64_t protected_count =
      std::count(score.begin(), score.end(), std::numeric_limits<double>::infinity());
  const int64_t kept =
      std::max(protected_count, CountOf(options_.Density(), static_cast<int64_t>(order.size())));
  PutBestFirst(score, kept, order);
  std::vector<bool> keep(score.size(), true);
  for (size_t i = static_cast<size_t>(kept); i < order.size(); ++i) {
    keep[static_cast<size_t>(order[i])] = false;
  }
  return keep;
}

std::vector<bool> PruneMask::KeepUnits(absl::Span<const double> guidance) const {
  const std::vector<bool> weights = KeepWeights(guidance);
  std::vector<bool> keep(weights.size(), true);
  for (size_t l = 0; l + 1 < chain_.size(); ++l) {
    const ChainLayer& layer = chain_[l];
    // Share of a unit's weights that stay, their mean guidance, and the smaller index first.
    std::vector<std::tuple<double, double, int64_t>> units;
    for (int64_t u = 0; u < layer.units; ++u) {
      double kept = 0, mean = 0;
      const int64_t begin = layer.weight->offset + u * layer.fan_in;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(begin + layer.fan_in);
           ++i) {
        kept += weights[i] ? 1 : 0;
        mean += guidance[i];
      }
      const auto n = static_cast<double>(layer.fan_in);
      units.emplace_back(-kept / n, -mean / n, u);
    }
    std::sort(units.begin(), units.end());
    const auto above = std::count_if(units.begin(), units.end(), [&](const auto& unit) {
      return std::get<0>(unit) < 0 && -std::get<0>(unit) >= options_.unit_threshold;
    });
    const int64_t fewest = std::max<int64_t>(1, CountOf(options_.floor, layer.units));
    const int64_t stay =
        std::max<int64_t>(fewest, options_.width ? CountOf(*options_.width, layer.units) : above);
    for (int64_t i = stay; i < layer.units; ++i) {
      RemoveUnit(chain_, l, std::get<2>(units[static_cast<size_t>(i)]), keep);
    }
  }
  return keep;
}

absl::Status PruneMask::Learn(absl::Span<const double> sum, int64_t contributions,
                              absl::Span<float> model, const TransformContext&) {
  const auto wrong = [](absl::string_view what, size_t found, int64_t allowed) {
    return absl::InvalidArgumentError(
        absl::StrCat("prune_mask: ", what, " has ", found, " values; allowed: ", allowed));
  };
  const ParamLayout& contributed = *request_->layout;
  if (static_cast<int64_t>(sum.size()) != contributed.size()) {
    return wrong("the sum of the explorations", sum.size(), contributed.size());
  }
  if (static_cast<int64_t>(model.size()) != deps_.layout->trainable_size()) {
    return wrong("the model", model.size(), deps_.layout->trainable_size());
  }
  if (contributions < 1) return absl::InvalidArgumentError("prune_mask: no client has explored");
  for (const Tensor& tensor : contributed.tensors()) {
    const auto part = Part(sum, tensor);
    if (std::all_of(part.begin(), part.end(), [](double x) { return std::isfinite(x); })) continue;
    return absl::OutOfRangeError(absl::StrCat("the sum of the explorations: ", tensor.name,
                                              " is not finite; allowed: finite values"));
  }
  const std::vector<double> guidance = Guidance(sum, contributions, model);
  const std::vector<bool> keep = options_.structured ? KeepUnits(guidance) : KeepWeights(guidance);
  TRIB_ASSIGN_OR_RETURN(packed_, Pack(keep));
  mask_ = std::make_shared<const Mask>(keep);
  ClearPruned(*mask_, 0, model);
  return absl::OkStatus();
}

absl::Status PruneMask::Restored() {
  mask_ = nullptr;
  if (packed_.empty()) return absl::OkStatus();
  const int64_t size = deps_.layout->trainable_size();
  const absl::Span<const float> values = packed_.values();
  const bool whole = std::all_of(values.begin(), values.end(), [](float x) {
    return x >= 0 && x < static_cast<float>(1 << kBitsPerValue) && x == std::floor(x);
  });
  const auto expected = static_cast<size_t>((size + kBitsPerValue - 1) / kBitsPerValue);
  if (!whole || values.size() != expected) {
    return absl::DataLossError(
        absl::StrCat("the restored state of prune_mask is no mask of ", size, " coordinates"));
  }
  mask_ = std::make_shared<const Mask>(Unpack(values, size));
  return absl::OkStatus();
}

absl::Status PruneMask::Apply(Aggregate& aggregate, const TransformContext&) {
  if (mask_ == nullptr) return absl::OkStatus();
  const absl::Span<float> delta = aggregate.delta.trainable();
  ForRanges(deps_.parallel, static_cast<int64_t>(delta.size()), [&](CoordinateRange range) {
    ClearPruned(*mask_, range.begin,
                delta.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
  });
  return absl::OkStatus();
}

}  // namespace tributary
