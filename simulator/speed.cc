#include "simulator/speed.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/portable_math.h"
#include "simulator/trace.h"

namespace tributary {
namespace {

// No draw is more than this many times faster than its mean: a normal draw may be negative, an
// exponential one arbitrarily near 0.
constexpr double kLeastFactor = 0.05;

double AtLeast5Percent(double factor) { return std::max(kLeastFactor, factor); }

template <typename Options>
void AddMean(config::Fields<Options>& fields) {
  fields.Add("mean_seconds_per_step", &Options::mean_seconds_per_step, "over the clients")
      .GreaterThan(0);
}

template <typename Options>
void AddJitter(config::Fields<Options>& fields) {
  fields.Add("jitter", &Options::jitter, "standard deviation of a work order's factor around 1")
      .Min(0)
      .Max(1);
}

// The laws by which a client's time is drawn: options, and Factor, a draw that is multiplied
// with the mean.

struct Constant {
  double mean_seconds_per_step = 0.1;
  double jitter = 0.0;
  static void Describe(config::Fields<Constant>& fields) {
    fields.Add("mean_seconds_per_step", &Constant::mean_seconds_per_step, "of every client")
        .GreaterThan(0);
    AddJitter(fields);
  }
  double Factor(Rng&) const { return 1.0; }
};

struct Normal {
  double mean_seconds_per_step = 0.1;
  double relative_stddev = 0.3;
  double jitter = 0.0;
  static void Describe(config::Fields<Normal>& fields) {
    AddMean(fields);
    fields
        .Add("relative_stddev", &Normal::relative_stddev,
             "standard deviation over the clients, as a share of the mean; draws below 5 % of "
             "the mean become that")
        .Min(0)
        .Max(2);
    AddJitter(fields);
  }
  double Factor(Rng& rng) const { return AtLeast5Percent(rng.Normal(1.0, relative_stddev)); }
};

struct Exponential {
  double mean_seconds_per_step = 0.1;
  double jitter = 0.0;
  static void Describe(config::Fields<Exponential>& fields) {
    fields
        .Add("mean_seconds_per_step", &Exponential::mean_seconds_per_step,
             "over the clients; draws below 5 % of it become that")
        .GreaterThan(0);
    AddJitter(fields);
  }
  double Factor(Rng& rng) const { return AtLeast5Percent(rng.Exponential(1.0)); }
};

struct Lognormal {
  double mean_seconds_per_step = 0.1;
  double sigma = 0.5;
  double jitter = 0.0;
  static void Describe(config::Fields<Lognormal>& fields) {
    AddMean(fields);
    fields
        .Add("sigma", &Lognormal::sigma,
             "standard deviation of the time's logarithm; the mean does not depend on it")
        .Min(0)
        .Max(3);
    AddJitter(fields);
  }
  double Factor(Rng& rng) const { return portable::Exp(rng.Normal(-0.5 * sigma * sigma, sigma)); }
};

struct Uniform {
  double mean_seconds_per_step = 0.1;
  double ratio = 5.0;
  double jitter = 0.0;
  static void Describe(config::Fields<Uniform>& fields) {
    AddMean(fields);
    fields.Add("ratio", &Uniform::ratio, "of the slowest client's time to the fastest's, at most")
        .Min(1)
        .Max(10000);
    AddJitter(fields);
  }
  double Factor(Rng& rng) const {
    const double least = 2.0 / (1.0 + ratio);
    return rng.Uniform(least, ratio * least);
  }
};

class JitteringSpeed : public SpeedModel {
 public:
  explicit JitteringSpeed(double jitter) : jitter_(jitter) {}
  double DrawJitter(Rng& rng) const override {
    return jitter_ == 0 ? 1.0 : AtLeast5Percent(rng.Normal(1.0, jitter_));
  }

 private:
  const double jitter_;
};

template <typename Law>
class DrawnSpeed final : public JitteringSpeed {
 public:
  using Options = Law;
  static absl::StatusOr<std::unique_ptr<SpeedModel>> Create(const Law& law, int64_t,
                                                            const Rng& rng) {
    return std::make_unique<DrawnSpeed>(law, rng);
  }
  DrawnSpeed(const Law& law, const Rng& rng) : JitteringSpeed(law.jitter), law_(law), rng_(rng) {}

  absl::Duration StepTime(int64_t client) const override {
    Rng own = rng_.Split(static_cast<uint64_t>(client));
    return absl::Seconds(law_.mean_seconds_per_step * law_.Factor(own));
  }

 private:
  const Law law_;
  const Rng rng_;
};

class TraceSpeed final : public JitteringSpeed {
 public:
  struct Options {
    std::string path;
    double jitter = 0.0;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("path", &Options::path, "CSV file with the column seconds_per_step").Required();
      AddJitter(fields);
    }
  };
  using Rows = std::vector<std::vector<double>>;
  static absl::StatusOr<std::unique_ptr<SpeedModel>> Create(const Options& options, int64_t clients,
                                                            const Rng&) {
    TRIB_ASSIGN_OR_RETURN(
        Rows rows, ReadTraceByClient(options.path, {TraceColumn{"seconds_per_step"}}, clients));
    return std::make_unique<TraceSpeed>(options.jitter, std::move(rows));
  }
  TraceSpeed(double jitter, Rows rows) : JitteringSpeed(jitter), rows_(std::move(rows)) {}

  absl::Duration StepTime(int64_t client) const override {
    return absl::Seconds(rows_[static_cast<size_t>(client)].front());
  }

 private:
  const Rows rows_;
};

}  // namespace

const Registry<SpeedModel, int64_t, const Rng&>& SpeedRegistry() {
  using R = Registry<SpeedModel, int64_t, const Rng&>;
  static const R* const registry = new R(
      "speed model",
      {
          R::Of<DrawnSpeed<Constant>>("constant", "every client alike"),
          R::Of<DrawnSpeed<Normal>>("normal", "normally distributed over clients"),
          R::Of<DrawnSpeed<Exponential>>("exponential", "exponentially distributed over clients"),
          R::Of<DrawnSpeed<Lognormal>>("lognormal", "lognormally distributed over clients"),
          R::Of<DrawnSpeed<Uniform>>("uniform", "uniformly distributed over clients"),
          R::Of<TraceSpeed>("trace", "measured, from a file"),
      });
  return *registry;
}

}  // namespace tributary
