#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/partition_deal.h"
#include "client_sdk/data/partitioners.h"

namespace tributary {
namespace {

// Each class in pieces for its holders, in proportion to |N(10, 3²)|.
Partition SplitAmong(const std::vector<std::vector<size_t>>& holders,
                     const std::vector<Indices>& by_class, int64_t clients, Rng rng) {
  Partition parts(static_cast<size_t>(clients));
  for (size_t c = 0; c < by_class.size(); ++c) {
    std::vector<double> shares;
    for (size_t i = 0; i < holders[c].size(); ++i) {
      shares.push_back(std::abs(rng.Normal(10.0, 3.0)));
    }
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    DealOut(by_class[c], ProportionalSizes(static_cast<int64_t>(by_class[c].size()), shares),
            holders[c], parts);
  }
  FillEmptyParts(parts);
  return parts;
}

}  // namespace

void DualDirichletPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields
      .Add("size_concentration", &Options::size_concentration,
           "of the clients' sizes: small is uneven; absent: the number of clients")
      .GreaterThan(0)
      .Max(1e6);
  fields
      .Add("class_concentration", &Options::class_concentration,
           "of a client's mix of classes: small is skewed")
      .GreaterThan(0)
      .Max(1e6);
}

absl::StatusOr<std::unique_ptr<DualDirichletPartitioner>> DualDirichletPartitioner::Create(
    const Options& options) {
  return std::make_unique<DualDirichletPartitioner>(options);
}

absl::StatusOr<Partition> DualDirichletPartitioner::Deal(const Dataset& data, int64_t clients,
                                                         Rng rng) const {
  const std::vector<Indices> by_class = ShuffledByHeldClass(data, rng);
  const auto k = static_cast<double>(clients);
  const std::vector<double> sizes =
      rng.Split("sizes").Dirichlet(options_.size_concentration.value_or(k) / k, clients);
  std::vector<double> concentrations;
  concentrations.reserve(by_class.size());
  for (const Indices& examples : by_class) {
    concentrations.push_back(options_.class_concentration * static_cast<double>(examples.size()) /
                             static_cast<double>(data.size()));
  }
  std::vector<std::vector<double>> weights;  // [clients][classes]
  for (size_t i = 0; i < sizes.size(); ++i) {
    weights.push_back(rng.Split("classes").Split(i).Dirichlet(concentrations));
    for (double& weight : weights.back()) weight *= sizes[i];
  }
  Partition parts(sizes.size());
  for (size_t j = 0; j < by_class.size(); ++j) {
    const auto total = static_cast<int64_t>(by_class[j].size());
    double sum = 0;
    for (const auto& of_client : weights) sum += of_client[j];
    std::vector<int64_t> counts(sizes.size());
    int64_t rest = total;
    for (size_t i = 0; i + 1 < counts.size() && sum > 0; ++i) {
      counts[i] =
          std::min(rest, static_cast<int64_t>(weights[i][j] / sum * static_cast<double>(total)));
      rest -= counts[i];
    }
    counts.back() = rest;
    DealOut(by_class[j], counts, Everyone(clients), parts);
  }
  FillEmptyParts(parts);
  return parts;
}

void CompassClassesPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields
      .Add("min_classes", &Options::min_classes,
           "fewest classes of a client; absent: FedCompass' table by the number of clients")
      .Min(1);
  fields.Add("max_classes", &Options::max_classes, "most classes of a client; absent: that table")
      .Min(1);
}

absl::StatusOr<std::unique_ptr<CompassClassesPartitioner>> CompassClassesPartitioner::Create(
    const Options& options) {
  return std::make_unique<CompassClassesPartitioner>(options);
}

absl::StatusOr<Partition> CompassClassesPartitioner::Deal(const Dataset& data, int64_t clients,
                                                          Rng rng) const {
  constexpr std::array<std::pair<int64_t, int64_t>, 8> kTable = {
      {{10, 10}, {7, 8}, {6, 8}, {5, 7}, {5, 6}, {4, 6}, {4, 5}, {3, 5}}};
  const std::vector<Indices> by_class = ShuffledByHeldClass(data, rng);
  const auto classes = static_cast<int64_t>(by_class.size());
  const auto& [table_min, table_max] =
      kTable[static_cast<size_t>(std::min<int64_t>(clients, kTable.size()) - 1)];
  const int64_t least = options_.min_classes.value_or(std::min(table_min, classes));
  const int64_t most = options_.max_classes.value_or(std::min(table_max, classes));
  if (least > most || most > classes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partition compass_classes: ", least, " to ", most, " classes a client; allowed: 1 to ",
        classes, ", min_classes no more than max_classes"));
  }
  Rng deal = rng.Split("deal");
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    std::vector<std::vector<size_t>> holders(by_class.size());
    for (size_t k = 0; k < static_cast<size_t>(clients); ++k) {
      const int64_t held = least + deal.UniformInt(most - least + 1);
      for (const int64_t c : deal.SampleWithoutReplacement(classes, held)) {
        holders[static_cast<size_t>(c)].push_back(k);
      }
    }
    if (absl::c_any_of(holders, [](const auto& of_class) { return of_class.empty(); })) continue;
    return SplitAmong(holders, by_class, clients, rng.Split("parts"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("partition compass_classes: ", clients, " clients with ", least, " to ", most,
                   " classes each did not hold all ", classes, " in any of ", kMaxDraws,
                   " draws; allowed: more clients, a larger max_classes"));
}

}  // namespace tributary
