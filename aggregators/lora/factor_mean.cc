#include "aggregators/lora/factor_mean.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

struct Rule {
  AdapterFactors factors;  // that clients send
  bool own_b;
  bool by_norm;  // p_k from the products' norms instead of the weights
};

class FactorMean final : public LoraAggregator {
 public:
  FactorMean(LoraDeps deps, const Rule& rule)
      : LoraAggregator(std::move(deps), rule.factors), rule_(rule) {}

  absl::StatusOr<LoraAggregate> Finish() && override {
    TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, Counts());
    aggregate.own_b = rule_.own_b;
    for (const auto& [name, sums] : sums_) {
      if (!(sums.weight() > 0)) {
        return absl::FailedPreconditionError(absl::StrCat(
            "adapter module '", name, "': every product is 0, so there are no weights"));
      }
      LowRank mean = sums.Mean();
      if (!rule_.own_b && factors() != AdapterFactors::kBoth) {
        mean = WithFrozen(deps().start.at(name), std::move(mean));
      }
      aggregate.start[name] = std::move(mean);
    }
    return aggregate;
  }

 private:
  void Add(double weight, AcceptedUpdate update) override {
    for (const auto& [name, module] : update) {
      sums_[name].Add(rule_.by_norm ? module.norm : weight, module);
    }
  }

  // The factor that was not trained, whole, with the trained one padded to its rank.
  LowRank WithFrozen(const LowRank& start, LowRank mean) const {
    LowRank whole{.rows = start.rows, .columns = start.columns};
    whole.rank = start.rank - mean.rank;
    whole.b.assign(static_cast<size_t>(whole.rows * whole.rank), 0.0F);
    whole.a.assign(static_cast<size_t>(whole.rank * whole.columns), 0.0F);
    whole = Concatenate({&mean, &whole});
    (factors() == AdapterFactors::kB ? whole.a : whole.b) =
        factors() == AdapterFactors::kB ? start.a : start.b;
    return whole;
  }

  const Rule rule_;
  std::map<std::string, FactorSums> sums_;
};

absl::StatusOr<std::unique_ptr<LoraAggregator>> Make(absl::string_view name, LoraDeps deps,
                                                     bool by_norm = false) {
  TRIB_RETURN_IF_ERROR(CheckDeps(deps));
  TRIB_RETURN_IF_ERROR(CheckAverages(name, deps));
  TRIB_ASSIGN_OR_RETURN(const LoraRule known, FindLoraRule(name));
  const Rule rule{
      .factors = known.SendsFrom(deps.version), .own_b = known.own_b(), .by_norm = by_norm};
  if (rule.factors != AdapterFactors::kBoth && !rule.own_b) {
    TRIB_RETURN_IF_ERROR(CheckStartIsWhole(name, deps));
  }
  if (rule.own_b) deps.start.clear();  // its B is nobody's
  return std::make_unique<FactorMean>(std::move(deps), rule);
}

}  // namespace

void FactorSums::Add(double weight, const AcceptedModule& module) {
  const LowRank& x = module.factors;
  rows_ = x.rows;
  columns_ = x.columns;
  rank_ = std::max(rank_, x.rank);
  bt_.resize(static_cast<size_t>(rank_ * rows_));
  a_.resize(static_cast<size_t>(rank_ * columns_));
  for (size_t i = 0; i < x.a.size(); ++i) a_[i] += weight * static_cast<double>(x.a[i]);
  for (size_t i = 0; i < x.b.size(); ++i) {
    const size_t row = i / static_cast<size_t>(x.rank), k = i % static_cast<size_t>(x.rank);
    bt_[k * static_cast<size_t>(rows_) + row] +=
        weight * module.scale * static_cast<double>(x.b[i]);
  }
  weight_ += weight;
}

LowRank FactorSums::Mean() const {
  LowRank mean{.rows = rows_, .columns = columns_, .rank = rank_};
  for (const double sum : a_) mean.a.push_back(static_cast<float>(sum / weight_));
  for (int64_t i = 0; i < rows_; ++i) {
    for (int64_t k = 0; k < rank_; ++k) {
      mean.b.push_back(static_cast<float>(bt_[static_cast<size_t>(k * rows_ + i)] / weight_));
    }
  }
  return mean;
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> LoraAverage::Create(const Options&,
                                                                    const LoraDeps& deps) {
  TRIB_RETURN_IF_ERROR(CheckOneRank("lora_average", deps));
  return Make("lora_average", deps);
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> LoraZeroPadding::Create(const Options&,
                                                                        const LoraDeps& deps) {
  return Make("lora_zero_padding", deps);
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> HetLora::Create(const Options&,
                                                                const LoraDeps& deps) {
  return Make("hetlora", deps, /*by_norm=*/true);
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> Ffa::Create(const Options&, const LoraDeps& deps) {
  return Make("ffa", deps);
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> RoLora::Create(const Options&,
                                                               const LoraDeps& deps) {
  return Make("rolora", deps);
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> FedSa::Create(const Options&,
                                                              const LoraDeps& deps) {
  return Make("fedsa", deps);
}

}  // namespace tributary
