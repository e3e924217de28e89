#include "simulator/speed.h"

#include <algorithm>
#include <memory>

namespace tributary {
namespace {

// No draw is more than this many times faster than its mean: a normal draw may be negative.
constexpr double kLeastFactor = 0.05;

double Jitter(double stddev, Rng& rng) {
  return stddev == 0 ? 1.0 : std::max(kLeastFactor, rng.Normal(1.0, stddev));
}

class ConstantSpeed final : public SpeedModel {
 public:
  struct Options {
    double mean_seconds_per_step = 0.1;
    double jitter = 0.0;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("mean_seconds_per_step", &Options::mean_seconds_per_step, "of every client")
          .GreaterThan(0)
          .Add("jitter", &Options::jitter, "standard deviation of a work order's factor around 1")
          .Min(0)
          .Max(1);
    }
  };
  static absl::StatusOr<std::unique_ptr<SpeedModel>> Create(const Options& options) {
    return std::make_unique<ConstantSpeed>(options);
  }
  explicit ConstantSpeed(const Options& options) : options_(options) {}

  absl::Duration DrawStepTime(Rng&) const override {
    return absl::Seconds(options_.mean_seconds_per_step);
  }
  double DrawJitter(Rng& rng) const override { return Jitter(options_.jitter, rng); }

 private:
  const Options options_;
};

class NormalSpeed final : public SpeedModel {
 public:
  struct Options {
    double mean_seconds_per_step = 0.1;
    double relative_stddev = 0.3;
    double jitter = 0.0;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("mean_seconds_per_step", &Options::mean_seconds_per_step, "over the clients")
          .GreaterThan(0)
          .Add("relative_stddev", &Options::relative_stddev,
               "standard deviation over the clients, as a share of the mean; draws below 5 % of "
               "the mean become that")
          .Min(0)
          .Max(2)
          .Add("jitter", &Options::jitter, "standard deviation of a work order's factor around 1")
          .Min(0)
          .Max(1);
    }
  };
  static absl::StatusOr<std::unique_ptr<SpeedModel>> Create(const Options& options) {
    return std::make_unique<NormalSpeed>(options);
  }
  explicit NormalSpeed(const Options& options) : options_(options) {}

  absl::Duration DrawStepTime(Rng& rng) const override {
    const double factor = std::max(kLeastFactor, rng.Normal(1.0, options_.relative_stddev));
    return absl::Seconds(options_.mean_seconds_per_step * factor);
  }
  double DrawJitter(Rng& rng) const override { return Jitter(options_.jitter, rng); }

 private:
  const Options options_;
};

}  // namespace

const Registry<SpeedModel>& SpeedRegistry() {
  using R = Registry<SpeedModel>;
  static const R* const registry =
      new R("speed model", {
                               R::Of<ConstantSpeed>("constant", "every client alike"),
                               R::Of<NormalSpeed>("normal", "normally distributed over clients"),
                           });
  return *registry;
}

}  // namespace tributary
