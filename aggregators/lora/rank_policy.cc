#include "aggregators/lora/rank_policy.h"

#include <algorithm>
#include <memory>

namespace tributary {
namespace {

// Of a share of the energy: rounding of its sum.
constexpr double kRounding = 1e-12;

class Fixed final : public RankPolicy {
 public:
  struct Options {
    int64_t rank = 16;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("rank", &Options::rank, "of every module").Min(1);
    }
  };
  static absl::StatusOr<std::unique_ptr<RankPolicy>> Create(const Options& options) {
    return std::make_unique<Fixed>(options);
  }
  explicit Fixed(const Options& options) : rank_(options.rank) {}

  std::vector<int64_t> Ranks(absl::Span<const Spectrum> spectra) const override {
    std::vector<int64_t> ranks;
    for (const Spectrum& s : spectra) {
      ranks.push_back(std::min(rank_, static_cast<int64_t>(s.values.size())));
    }
    return ranks;
  }

 private:
  const int64_t rank_;
};

class Energy final : public RankPolicy {
 public:
  struct Options {
    double share = 0.95;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("share", &Options::share, "of the sum's energy that is sent at least")
          .GreaterThan(0)
          .Max(1);
    }
  };
  static absl::StatusOr<std::unique_ptr<RankPolicy>> Create(const Options& options) {
    return std::make_unique<Energy>(options);
  }
  explicit Energy(const Options& options) : share_(options.share) {}

  std::vector<int64_t> Ranks(absl::Span<const Spectrum> spectra) const override {
    std::vector<int64_t> ranks;
    for (const Spectrum& s : spectra) ranks.push_back(RankOf(s.values));
    return ranks;
  }

 private:
  int64_t RankOf(absl::Span<const double> values) const {
    if (share_ == 1) return static_cast<int64_t>(values.size());
    double total = 0, kept = 0;
    for (const double value : values) total += value * value;
    int64_t rank = 0;
    for (const double value : values) {
      if (kept >= (share_ - kRounding) * total) break;
      kept += value * value;
      ++rank;
    }
    return rank;
  }

  const double share_;
};

class Bytes final : public RankPolicy {
 public:
  struct Options {
    int64_t bytes = 16'000'000;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("bytes", &Options::bytes, "of all modules' factors as float32").Min(1);
    }
  };
  static absl::StatusOr<std::unique_ptr<RankPolicy>> Create(const Options& options) {
    return std::make_unique<Bytes>(options);
  }
  explicit Bytes(const Options& options) : bytes_(options.bytes) {}

  std::vector<int64_t> Ranks(absl::Span<const Spectrum> spectra) const override {
    struct Offer {
      size_t module;
      int64_t bytes;
      double gain;  // energy by byte
    };
    std::vector<Offer> offers;
    for (size_t i = 0; i < spectra.size(); ++i) {
      const int64_t bytes =
          static_cast<int64_t>(sizeof(float)) * (spectra[i].rows + spectra[i].columns);
      for (const double value : spectra[i].values) {
        offers.push_back({i, bytes, value * value / static_cast<double>(bytes)});
      }
    }
    std::stable_sort(offers.begin(), offers.end(),
                     [](const Offer& x, const Offer& y) { return x.gain > y.gain; });
    std::vector<int64_t> ranks(spectra.size());
    int64_t left = bytes_;
    for (const Offer& offer : offers) {
      if (offer.bytes > left) break;
      left -= offer.bytes;
      ++ranks[offer.module];
    }
    return ranks;
  }

 private:
  const int64_t bytes_;
};

}  // namespace

const Registry<RankPolicy>& RankPolicyRegistry() {
  using R = Registry<RankPolicy>;
  static const R* const registry =
      new R("rank policy", {
                               R::Of<Fixed>("fixed", "the same rank for every module"),
                               R::Of<Energy>("energy", "a share of each module's energy"),
                               R::Of<Bytes>("bytes", "a budget over all modules"),
                           });
  return *registry;
}

}  // namespace tributary
