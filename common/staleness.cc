#include "common/staleness.h"

#include <cmath>

#include "common/portable_math.h"

namespace tributary {
namespace {

class Constant final : public StalenessFunction {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<StalenessFunction>> Create(const Options&) {
    return std::make_unique<Constant>();
  }
  double At(int64_t) const override { return 1.0; }
};

class Polynomial final : public StalenessFunction {
 public:
  struct Options {
    double exponent = 0.5;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("exponent", &Options::exponent, "a in (1 + staleness)^(-a)").Min(0).Max(10);
    }
  };
  static absl::StatusOr<std::unique_ptr<StalenessFunction>> Create(const Options& options) {
    return std::make_unique<Polynomial>(options);
  }
  explicit Polynomial(const Options& options) : exponent_(options.exponent) {}

  double At(int64_t staleness) const override {
    const double base = 1.0 + static_cast<double>(staleness);
    if (exponent_ == 0.5) return 1.0 / std::sqrt(base);  // correctly rounded everywhere
    return portable::Exp(-exponent_ * portable::Log(base));
  }

 private:
  const double exponent_;
};

class Hinge final : public StalenessFunction {
 public:
  struct Options {
    double slope = 10;
    int64_t tolerance = 4;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("slope", &Options::slope, "a in 1 / (a (staleness - b) + 1)").Min(0);
      fields.Add("tolerance", &Options::tolerance, "b: up to it an update counts in full").Min(0);
    }
  };
  static absl::StatusOr<std::unique_ptr<StalenessFunction>> Create(const Options& options) {
    return std::make_unique<Hinge>(options);
  }
  explicit Hinge(const Options& options) : options_(options) {}

  double At(int64_t staleness) const override {
    if (staleness <= options_.tolerance) return 1.0;
    return 1.0 / (options_.slope * static_cast<double>(staleness - options_.tolerance) + 1.0);
  }

 private:
  const Options options_;
};

}  // namespace

const Registry<StalenessFunction>& StalenessRegistry() {
  using R = Registry<StalenessFunction>;
  static const R* const registry =
      new R("staleness function",
            {
                R::Of<Constant>("constant", "every update counts in full"),
                R::Of<Polynomial>("polynomial", "(1 + staleness) to the power of -exponent"),
                R::Of<Hinge>("hinge", "in full up to a tolerance, then falling"),
            });
  return *registry;
}

config::Choice ConstantStaleness() {
  return {.name = "constant", .options = nlohmann::json::object(), .position = {}};
}

config::Choice PolynomialStaleness() {
  return {.name = "polynomial", .options = {{"exponent", 0.5}}, .position = {}};
}

}  // namespace tributary
