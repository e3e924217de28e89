#include "common/codec/adapter_step.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/codec.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr size_t kLengthBytes = sizeof(uint32_t);

std::string NameOfA(absl::string_view module) { return absl::StrCat(module, ".delta_A"); }
std::string NameOfB(absl::string_view module) { return absl::StrCat(module, ".delta_B"); }
std::string NameOfDense(absl::string_view module) { return absl::StrCat(module, ".delta"); }

// The step's tensors as one vector; empty if it has none.
absl::StatusOr<ParamVector> Flatten(const AdapterStep& step) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const auto& [module, delta] : step.weights) {
    const LowRank& x = delta.factors;
    if (!delta.dense.empty()) tensors.push_back({NameOfDense(module), {x.rows, x.columns}});
    if (x.rank == 0) continue;
    tensors.push_back({NameOfA(module), {x.rank, x.columns}});
    tensors.push_back({NameOfB(module), {x.rows, x.rank}});
  }
  if (!step.adapter.empty()) {
    for (const auto& tensor : step.adapter.layout()->tensors()) {
      tensors.push_back({tensor.name, tensor.shape});
    }
  }
  if (tensors.empty()) return ParamVector();
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  ParamVector flat(std::move(layout));
  for (const auto& [module, delta] : step.weights) {
    std::ranges::copy(delta.dense, flat.View(NameOfDense(module)).begin());
    std::ranges::copy(delta.factors.a, flat.View(NameOfA(module)).begin());
    std::ranges::copy(delta.factors.b, flat.View(NameOfB(module)).begin());
  }
  if (!step.adapter.empty()) CopyShared(step.adapter, flat);
  return flat;
}

absl::Status Unexpected(const ParamLayout::Tensor& tensor) {
  return absl::InvalidArgumentError(
      absl::StrCat("a step between versions has the tensor '", tensor.name,
                   "', which is none of this model's, or of another shape than its module allows"));
}

std::vector<float> Values(const ParamVector& flat, const ParamLayout::Tensor& tensor) {
  const absl::Span<const float> values = flat.View(tensor.name);
  return {values.begin(), values.end()};
}

// A step of these tensors. Every one must be known, and belong together.
absl::StatusOr<AdapterStep> Unflatten(const ParamVector& flat, const LoraPlan& plan) {
  AdapterStep step;
  size_t known = 0;
  for (const LoraModule& module : plan.modules()) {
    const ParamLayout::Tensor* const a = flat.layout()->Find(NameOfA(module.name));
    const ParamLayout::Tensor* const b = flat.layout()->Find(NameOfB(module.name));
    const ParamLayout::Tensor* const dense = flat.layout()->Find(NameOfDense(module.name));
    const auto is = [](const ParamLayout::Tensor& tensor, int64_t rows, int64_t columns) {
      return tensor.shape == std::vector<int64_t>{rows, columns};
    };
    ModuleDelta delta{.factors = {.rows = module.rows, .columns = module.columns}, .dense = {}};
    if (a != nullptr) {
      const int64_t rank = a->shape.empty() ? 0 : a->shape[0];
      if (b == nullptr || dense != nullptr || !is(*a, rank, module.columns) ||
          !is(*b, module.rows, rank)) {
        return Unexpected(*a);
      }
      delta.factors.rank = rank;
      delta.factors.a = Values(flat, *a);
      delta.factors.b = Values(flat, *b);
      known += 2;
    } else if (dense != nullptr) {
      if (!is(*dense, module.rows, module.columns)) return Unexpected(*dense);
      delta.dense = Values(flat, *dense);
      known += 1;
    } else {
      continue;
    }
    step.weights[module.name] = std::move(delta);
  }
  std::vector<ParamLayout::Tensor> adapter;
  for (const ParamLayout::Tensor& tensor : flat.layout()->tensors()) {
    const ParamLayout::Tensor* const kept = plan.model()->Find(tensor.name);
    if (kept == nullptr || plan.ordinary()->Find(tensor.name) != nullptr) continue;
    if (kept->shape != tensor.shape) return Unexpected(tensor);
    adapter.push_back(tensor);
    ++known;
  }
  if (known != flat.layout()->tensors().size()) {
    return absl::InvalidArgumentError("a step between versions has tensors of no module");
  }
  if (!adapter.empty()) {
    TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(adapter)));
    step.adapter = ParamVector(std::move(layout));
    CopyShared(flat, step.adapter);
  }
  return step;
}

// Random choices and rounding: both ends know the version.
CodecContext ContextOf(Version version, LayoutPtr layout) {
  return {.layout = std::move(layout),
          .rng = Rng(static_cast<uint64_t>(version)).Split("downlink"),
          .version = version - 1};
}

absl::StatusOr<ParamVector> DecodeValues(const Codec& codec, Version version, std::string bytes,
                                         LayoutPtr layout) {
  ParamVector flat(layout);
  TRIB_ASSIGN_OR_RETURN(const auto payload,
                        codec.Decode(std::move(bytes), ContextOf(version, layout)));
  payload->AddTo(1.0F, {0, layout->trainable_size()}, flat.trainable());
  return flat;
}

}  // namespace

void ApplyStep(const LoraPlan& plan, const AdapterStep& step, ParamVector& model) {
  plan.AddToWeights(step.weights, model);
  if (step.adapter.empty()) return;
  for (const auto& tensor : step.adapter.layout()->tensors()) {
    std::ranges::copy(step.adapter.View(tensor.name), model.View(tensor.name).begin());
  }
}

absl::StatusOr<std::unique_ptr<const AdapterStepCodec>> AdapterStepCodec::Create(
    const DownlinkSpec& spec, LoraTerms terms) {
  TRIB_ASSIGN_OR_RETURN(auto codec, CreateCodec(spec.codec, /*error_feedback=*/true));
  return std::unique_ptr<const AdapterStepCodec>(
      new AdapterStepCodec(std::move(codec), std::move(terms)));
}

absl::StatusOr<std::string> AdapterStepCodec::Encode(Version version, AdapterStep& step) const {
  TRIB_ASSIGN_OR_RETURN(const ParamVector flat, Flatten(step));
  if (flat.empty()) return std::string(kLengthBytes, '\0');
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckFinite(*flat.layout(), flat.values()), "the step to the next version"));
  const std::string layout = flat.layout()->ToJson();
  const auto length = static_cast<uint32_t>(layout.size());
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  const std::string values = codec_->Encode(flat.values(), ContextOf(version, flat.layout()));
  if (!codec_->lossless()) {
    TRIB_ASSIGN_OR_RETURN(const ParamVector sent,
                          DecodeValues(*codec_, version, values, flat.layout()));
    for (auto& [module, delta] : step.weights) {
      const auto put = [&](const std::string& name, std::vector<float>& to) {
        std::ranges::copy(sent.View(name), to.begin());
      };
      put(NameOfA(module), delta.factors.a);
      put(NameOfB(module), delta.factors.b);
      put(NameOfDense(module), delta.dense);
    }
    if (!step.adapter.empty()) CopyShared(sent, step.adapter);
  }
  return absl::StrCat(bytes, layout, values);
}

absl::StatusOr<AdapterStep> AdapterStepCodec::Decode(Version version, std::string bytes,
                                                     const LoraPlan& plan) const {
  uint32_t length = 0;
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError("a step between versions has no length");
  }
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > bytes.size() - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a step between versions states a layout of ",
                                                   length, " bytes; there are ",
                                                   bytes.size() - kLengthBytes));
  }
  if (length == 0) return AdapterStep{};
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::FromJson(absl::string_view(bytes).substr(
                                              kLengthBytes, length)));
  if (layout->size() > plan.model()->size() || layout->buffer_size() > 0) {
    return absl::InvalidArgumentError(absl::StrCat("a step between versions has ", layout->size(),
                                                   " values; allowed: no more than the model's ",
                                                   plan.model()->size()));
  }
  bytes.erase(0, kLengthBytes + length);
  TRIB_ASSIGN_OR_RETURN(const ParamVector flat,
                        DecodeValues(*codec_, version, std::move(bytes), std::move(layout)));
  return Unflatten(flat, plan);
}

absl::Status AdapterStepCodec::Apply(Version version, std::string bytes, ParamVector& model) const {
  TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(terms_, *model.layout()));
  if (plan->model()->digest() != model.layout()->digest()) {
    return absl::InvalidArgumentError("the model does not hold the adapter that its job keeps");
  }
  TRIB_ASSIGN_OR_RETURN(const AdapterStep step, Decode(version, std::move(bytes), *plan));
  ApplyStep(*plan, step, model);
  return absl::OkStatus();
}

}  // namespace tributary
