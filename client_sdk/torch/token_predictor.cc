#include "client_sdk/torch/token_predictor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_calls.h"
#include "client_sdk/torch/torch_include.h"
#include "common/rng.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

class TorchTokenPredictor final : public TokenPredictor {
 public:
  TorchTokenPredictor(const DataShape& shape, std::unique_ptr<TorchModel> model, ParamVector values)
      : TokenPredictor(shape.predictions(), shape.num_classes),
        model_(std::move(model)),
        values_(std::move(values)),
        params_(ParamViews(*values_.layout(), values_.values().data(), false)) {}

  absl::StatusOr<std::vector<float>> Logits(absl::Span<const int32_t> tokens) const override {
    const auto length = static_cast<int64_t>(tokens.size());
    if (length < 1 || length > context_) {
      return absl::InvalidArgumentError(
          absl::StrCat("a text of ", length, " tokens; allowed: 1 to ", context_));
    }
    for (const int32_t token : tokens) {
      if (token >= 0 && token < vocabulary_) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("token ", token, " is out of range [0, ", vocabulary_, ")"));
    }
    return Guarded([&]() -> absl::StatusOr<std::vector<float>> {
      UseOneIntraOpThread();
      const at::NoGradGuard no_gradients;
      at::Tensor inputs = at::empty({1, length}, at::kLong);
      std::ranges::copy(tokens, inputs.data_ptr<int64_t>());
      const at::Tensor logits = model_->Forward(params_, inputs).contiguous();
      const float* begin = logits.data_ptr<float>();
      return std::vector<float>(begin, begin + logits.numel());
    });
  }

 private:
  const std::unique_ptr<TorchModel> model_;
  const ParamVector values_;
  const std::vector<at::Tensor> params_;
};

// A token drawn from softmax(logits / temperature).
int32_t Draw(absl::Span<const float> logits, double temperature, Rng& rng) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weights;
  double sum = 0;
  for (const float logit : logits) {
    weights.push_back(std::exp((logit - largest) / temperature));
    sum += weights.back();
  }
  double left = rng.Uniform() * sum;
  for (size_t i = 0; i + 1 < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(weights.size()) - 1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenPredictor>> TokenPredictor::Create(const BuiltinModel& spec,
                                                                       ParamVector model) {
  if (!spec.is_language_model() || !spec.context || !spec.vocabulary) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", spec.name, " predicts no tokens; needed: gpt or llama, with ",
                     "'context' and 'vocabulary'"));
  }
  return Guarded([&]() -> absl::StatusOr<std::unique_ptr<TokenPredictor>> {
    const DataShape shape{{*spec.context}, *spec.vocabulary, /*tokens=*/true};
    TRIB_ASSIGN_OR_RETURN(std::unique_ptr<TorchModel> made, MakeModel(spec, shape));
    TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LayoutOf(*made));
    TRIB_RETURN_IF_ERROR(CheckLayout(*layout, model));
    return std::make_unique<TorchTokenPredictor>(shape, std::move(made), std::move(model));
  });
}

absl::StatusOr<std::vector<int32_t>> TokenPredictor::Continue(
    absl::Span<const int32_t> prompt, const ContinueOptions& options) const {
  if (options.tokens < 0 || !(options.temperature >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("tokens is ", options.tokens,
                                                   " and temperature ", options.temperature,
                                                   "; allowed: 0 or more of each"));
  }
  Rng rng(options.seed);
  std::vector<int32_t> text(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < options.tokens; ++i) {
    const size_t seen = std::min(text.size(), static_cast<size_t>(context_));
    TRIB_ASSIGN_OR_RETURN(const std::vector<float> logits,
                          Logits(absl::MakeConstSpan(text).last(seen)));
    const auto last = absl::MakeConstSpan(logits).last(static_cast<size_t>(vocabulary_));
    text.push_back(
        options.temperature > 0
            ? Draw(last, options.temperature, rng)
            : static_cast<int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
  }
  return std::vector<int32_t>(text.begin() + static_cast<ptrdiff_t>(prompt.size()), text.end());
}

}  // namespace tributary
