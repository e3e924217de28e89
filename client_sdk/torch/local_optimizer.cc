#include "client_sdk/torch/local_optimizer.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/train_spec/train_spec.h"

namespace tributary {
namespace {

class Sgd : public LocalOptimizer {
 public:
  explicit Sgd(const LocalSgdOptions& options)
      : options_rate_(options.learning_rate),
        learning_rate_(options.learning_rate),
        momentum_(static_cast<float>(options.momentum)),
        decay_(static_cast<float>(options.weight_decay)) {}

  void Step(absl::Span<const absl::Span<const float>> gradients,
            absl::Span<float> params) override {
    if (momentum_ != 0.0f) velocity_.resize(params.size());
    eta_ = static_cast<float>(learning_rate_);
    size_t offset = 0;
    for (const absl::Span<const float> gradient : gradients) {
      if (momentum_ != 0.0f) {
        StepWithMomentum(gradient, params.data() + offset, velocity_.data() + offset);
      } else {
        StepPlain(gradient, params.data() + offset);
      }
      offset += gradient.size();
    }
  }

  void SetRateFactor(double factor) override { learning_rate_ = factor * options_rate_; }
  double learning_rate() const override { return learning_rate_; }

 private:
  void StepPlain(absl::Span<const float> gradient, float* __restrict w) const {
    const float* __restrict g = gradient.data();
    for (size_t i = 0; i < gradient.size(); ++i) w[i] -= eta_ * (g[i] + decay_ * w[i]);
  }

  void StepWithMomentum(absl::Span<const float> gradient, float* __restrict w,
                        float* __restrict v) const {
    const float* __restrict g = gradient.data();
    for (size_t i = 0; i < gradient.size(); ++i) {
      v[i] = momentum_ * v[i] + (g[i] + decay_ * w[i]);
      w[i] -= eta_ * v[i];
    }
  }

  const double options_rate_;
  double learning_rate_;
  float eta_ = 0;  // learning_rate_ in this step
  const float momentum_;
  const float decay_;
  std::vector<float> velocity_;
};

class Adam : public LocalOptimizer {
 public:
  Adam(const LocalAdamOptions& options, bool decoupled)
      : options_(options), decoupled_(decoupled), learning_rate_(options.learning_rate) {}

  void Step(absl::Span<const absl::Span<const float>> gradients,
            absl::Span<float> params) override {
    mean_.resize(params.size());
    square_.resize(params.size());
    beta1_power_ *= options_.beta1;
    beta2_power_ *= options_.beta2;
    size_t offset = 0;
    for (const absl::Span<const float> gradient : gradients) {
      StepPiece(gradient, params.data() + offset, mean_.data() + offset, square_.data() + offset);
      offset += gradient.size();
    }
  }

  void SetRateFactor(double factor) override { learning_rate_ = factor * options_.learning_rate; }
  double learning_rate() const override { return learning_rate_; }

 private:
  void StepPiece(absl::Span<const float> gradient, float* __restrict w, float* __restrict m,
                 float* __restrict s) const {
    const float* __restrict g = gradient.data();
    const double eta = learning_rate_;
    const auto beta1 = static_cast<float>(options_.beta1);
    const auto beta2 = static_cast<float>(options_.beta2);
    const auto rest1 = static_cast<float>(1 - options_.beta1);
    const auto rest2 = static_cast<float>(1 - options_.beta2);
    const auto step = static_cast<float>(eta / (1 - beta1_power_));
    const auto root_correction = static_cast<float>(1 / std::sqrt(1 - beta2_power_));
    const auto epsilon = static_cast<float>(options_.epsilon);
    const auto added = static_cast<float>(decoupled_ ? 0 : options_.weight_decay);
    const auto kept = static_cast<float>(decoupled_ ? 1 - eta * options_.weight_decay : 1);
    for (size_t i = 0; i < gradient.size(); ++i) {
      const float full = g[i] + added * w[i];
      m[i] = beta1 * m[i] + rest1 * full;
      s[i] = beta2 * s[i] + rest2 * full * full;
      w[i] = kept * w[i] - step * m[i] / (std::sqrt(s[i]) * root_correction + epsilon);
    }
  }

  const LocalAdamOptions options_;
  const bool decoupled_;
  double learning_rate_;
  double beta1_power_ = 1;
  double beta2_power_ = 1;
  std::vector<float> mean_;
  std::vector<float> square_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalOptimizer>> LocalOptimizer::Create(
    const config::Choice& choice) {
  const config::Node options = config::NodeFromJson(choice.options);
  const std::string path = absl::StrCat("train.optimizer.", choice.name);
  std::unique_ptr<LocalOptimizer> made;
  if (choice.name == "sgd") {
    TRIB_ASSIGN_OR_RETURN(const auto sgd, config::Parse<LocalSgdOptions>(options, path));
    made = std::make_unique<Sgd>(sgd);
  } else if (choice.name == "adam" || choice.name == "adamw") {
    TRIB_ASSIGN_OR_RETURN(const auto adam, config::Parse<LocalAdamOptions>(options, path));
    made = std::make_unique<Adam>(adam, choice.name == "adamw");
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("train.optimizer: found '", choice.name, "'; allowed: sgd, adam, adamw"));
  }
  return made;
}

void AddProximal(float mu, absl::Span<const float> params, absl::Span<const float> start,
                 absl::Span<float> gradient) {
  for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += mu * (params[i] - start[i]);
}

}  // namespace tributary
