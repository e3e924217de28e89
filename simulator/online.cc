#include "simulator/online.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "simulator/trace.h"

namespace tributary {
namespace {

constexpr double kYearSeconds = 31536000;

absl::Time AtSecond(double seconds) {
  return absl::UnixEpoch() + absl::Trunc(absl::Seconds(seconds), absl::Nanoseconds(1));
}

class AlwaysOnline final : public OnlineModel {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<OnlineModel>> Create(const Options&, int64_t, const Rng&) {
    return std::make_unique<AlwaysOnline>();
  }
  OnlinePeriod Period(int64_t, int64_t n, absl::Time after) const override {
    return n == 0 ? OnlinePeriod{.from = after} : OnlinePeriod{};
  }
};

// Two states, each left after an exponentially distributed time; in equilibrium from the start.
class MarkovOnline final : public OnlineModel {
 public:
  struct Options {
    absl::Duration mean_online_seconds = absl::Hours(1);
    absl::Duration mean_offline_seconds = absl::Minutes(10);
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("mean_online_seconds", &Options::mean_online_seconds, "mean length of a period")
          .GreaterThan(0)
          .Max(kYearSeconds)
          .Add("mean_offline_seconds", &Options::mean_offline_seconds, "mean time between two")
          .GreaterThan(0)
          .Max(kYearSeconds);
    }
  };
  static absl::StatusOr<std::unique_ptr<OnlineModel>> Create(const Options& options, int64_t,
                                                             const Rng& rng) {
    return std::make_unique<MarkovOnline>(options, rng);
  }
  MarkovOnline(const Options& options, const Rng& rng) : options_(options), rng_(rng) {}

  OnlinePeriod Period(int64_t client, int64_t n, absl::Time after) const override {
    Rng rng = rng_.Split(static_cast<uint64_t>(client)).Split(static_cast<uint64_t>(n));
    const absl::Duration on = options_.mean_online_seconds, off = options_.mean_offline_seconds;
    const bool from_the_start = n == 0 && rng.Bernoulli(absl::FDivDuration(on, on + off));
    const absl::Time from = from_the_start ? after : after + Draw(off, rng);
    return {from, from + Draw(on, rng)};
  }

 private:
  static absl::Duration Draw(absl::Duration mean, Rng& rng) {
    const double seconds = rng.Exponential(absl::ToDoubleSeconds(mean));
    return absl::Nanoseconds(std::max<int64_t>(1, std::llround(seconds * 1e9)));
  }
  const Options options_;
  const Rng rng_;
};

class TraceOnline final : public OnlineModel {
 public:
  struct Options {
    std::string path;
    static void Describe(config::Fields<Options>& fields) {
      fields
          .Add("path", &Options::path,
               "CSV file with the columns client, from_seconds and to_seconds, a line a period")
          .Required();
    }
  };
  using Periods = std::vector<OnlinePeriod>;
  static absl::StatusOr<std::unique_ptr<OnlineModel>> Create(const Options& options,
                                                             int64_t clients, const Rng&) {
    TRIB_ASSIGN_OR_RETURN(
        const Trace trace,
        ReadTrace(options.path,
                  {TraceColumn{"from_seconds", /*zero_allowed=*/true}, TraceColumn{"to_seconds"}},
                  clients));
    std::vector<Periods> periods;
    for (const auto& lines : trace) {
      TRIB_ASSIGN_OR_RETURN(
          periods.emplace_back(),
          InOrder(lines, absl::StrCat(options.path, ": client ", periods.size())));
    }
    return std::make_unique<TraceOnline>(std::move(periods));
  }
  explicit TraceOnline(std::vector<Periods> periods) : periods_(std::move(periods)) {}

  OnlinePeriod Period(int64_t client, int64_t n, absl::Time) const override {
    const Periods& own = periods_[static_cast<size_t>(client)];
    return n < static_cast<int64_t>(own.size()) ? own[static_cast<size_t>(n)] : OnlinePeriod{};
  }

 private:
  static absl::StatusOr<Periods> InOrder(const std::vector<std::vector<double>>& lines,
                                         const std::string& whose) {
    Periods periods;
    for (const auto& line : lines) {
      periods.push_back({AtSecond(line[0]), AtSecond(line[1])});
      if (periods.back().from < periods.back().to) continue;
      return absl::InvalidArgumentError(absl::StrCat(whose, ": online from ", line[0], " to ",
                                                     line[1],
                                                     "; allowed: an end after the beginning"));
    }
    std::ranges::sort(periods, {}, &OnlinePeriod::from);
    const auto overlap = std::ranges::adjacent_find(
        periods, [](const auto& a, const auto& b) { return a.to > b.from; });
    if (overlap == periods.end()) return periods;
    return absl::InvalidArgumentError(absl::StrCat(
        whose, ": online again at ", absl::ToDoubleSeconds(overlap[1].from - absl::UnixEpoch()),
        " before going offline at ", absl::ToDoubleSeconds(overlap->to - absl::UnixEpoch()),
        "; allowed: periods that do not overlap"));
  }
  const std::vector<Periods> periods_;
};

}  // namespace

const Registry<OnlineModel, int64_t, const Rng&>& OnlineRegistry() {
  using R = Registry<OnlineModel, int64_t, const Rng&>;
  static const R* const registry =
      new R("online model", {
                                R::Of<AlwaysOnline>("always", "without a break"),
                                R::Of<MarkovOnline>("markov", "on and off, at random"),
                                R::Of<TraceOnline>("trace", "measured, from a file"),
                            });
  return *registry;
}

}  // namespace tributary
