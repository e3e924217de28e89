#include "schedulers/task_time.h"

#include <algorithm>
#include <cmath>

#include "absl/numeric/int128.h"

namespace tributary {
namespace {

constexpr int64_t kMillion = 1'000'000;
// What is left of an observation's weight when the next one comes.
constexpr double kFade = 0.8;
// Step counts that differ by less than this share of their mean do not tell a from b.
constexpr double kLeastSpread = 0.05;
// At most this share of an order's time is fixed: steps are never free.
constexpr double kMostFixed = 0.99;

}  // namespace

void TaskTime::Observe(absl::Duration duration, int64_t steps, const Model& model) {
  const int64_t ns = std::max<int64_t>(1, absl::ToInt64Nanoseconds(duration));
  // With fewer observations than parameters a prediction is a guess, and its error no noise.
  const int64_t parameters = model.affine ? 2 : 1;
  if (observations_ >= parameters) {
    const double expected = absl::ToDoubleNanoseconds(Predict(steps));
    const double off = static_cast<double>(ns) / expected - 1.0;
    error_ = observations_ == parameters ? off * off : kFade * error_ + (1 - kFade) * off * off;
  }
  const int64_t observed = std::max<int64_t>(1, (ns + steps / 2) / steps);
  if (known()) {
    const absl::int128 blend = absl::int128(kMillion - model.momentum_ppm) * step_ns_ +
                               absl::int128(model.momentum_ppm) * observed;
    step_ns_ = std::max<int64_t>(1, static_cast<int64_t>((blend + kMillion / 2) / kMillion));
  } else {
    step_ns_ = observed;
  }
  ++observations_;
  if (model.affine) Fit(ns, steps);
}

// Replaces the scalar estimate.
void TaskTime::Fit(int64_t ns, int64_t steps) {
  const auto q = static_cast<double>(steps), t = static_cast<double>(ns);
  w_ = kFade * w_ + 1;
  q_ = kFade * q_ + q;
  qq_ = kFade * qq_ + q * q;
  t_ = kFade * t_ + t;
  qt_ = kFade * qt_ + q * t;
  double mean_q = q_ / w_, mean_t = t_ / w_;
  const double variance = qq_ / w_ - mean_q * mean_q;
  // With one size of order so far, the fixed cost that was found stays.
  auto fixed = static_cast<double>(fixed_ns_);
  if (variance >= kLeastSpread * kLeastSpread * mean_q * mean_q) {
    const double slope = (qt_ / w_ - mean_q * mean_t) / variance;
    if (slope > 0) {
      fixed = mean_t - slope * mean_q;
    } else {
      // More steps took less time: the client has changed, and only this order tells how it is.
      w_ = 1, q_ = mean_q = q, qq_ = q * q, t_ = mean_t = t, qt_ = q * t;
    }
  }
  fixed = std::clamp(fixed, 0.0, kMostFixed * mean_t);
  fixed_ns_ = std::llround(fixed);
  step_ns_ = std::max<int64_t>(1, std::llround((mean_t - fixed) / mean_q));
}

absl::Duration TaskTime::Predict(int64_t steps) const {
  return absl::Nanoseconds(fixed_ns_) + absl::Nanoseconds(step_ns_) * steps;
}

int64_t TaskTime::StepsWithin(absl::Duration time) const {
  const int64_t left = absl::ToInt64Nanoseconds(time) - fixed_ns_;
  return left < 0 ? -1 : left / step_ns_;
}

double TaskTime::variation() const { return std::sqrt(error_); }

}  // namespace tributary
