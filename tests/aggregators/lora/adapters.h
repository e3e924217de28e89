// Small matrices written out, adapters of them, and products formed by plain loops in double: what
// the tests of adapters compare with.
#ifndef TRIBUTARY_TESTS_AGGREGATORS_LORA_ADAPTERS_H_
#define TRIBUTARY_TESTS_AGGREGATORS_LORA_ADAPTERS_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "aggregators/lora/adapter.h"
#include "aggregators/lora/lora_aggregator.h"
#include "common/lora/low_rank.h"
#include "common/lora/module_delta.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"

namespace tributary::test {

using Rows = std::vector<std::vector<double>>;

inline std::vector<float> Flat(const Rows& x) {
  std::vector<float> flat;
  for (const auto& row : x) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

inline Rows Unflat(absl::Span<const float> x, int64_t columns) {
  Rows rows;
  const auto width = static_cast<size_t>(columns);
  for (size_t i = 0; i < x.size(); i += width) {
    rows.emplace_back(x.begin() + static_cast<std::ptrdiff_t>(i),
                      x.begin() + static_cast<std::ptrdiff_t>(i + width));
  }
  return rows;
}

inline Rows Zeros(int64_t rows, int64_t columns) {
  return Rows(static_cast<size_t>(rows), std::vector<double>(static_cast<size_t>(columns)));
}

// x + factor·y.
inline Rows Plus(Rows x, const Rows& y, double factor = 1) {
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j < x[i].size(); ++j) x[i][j] += factor * y[i][j];
  }
  return x;
}

inline Rows Times(const Rows& x, const Rows& y) {
  Rows product = Zeros(static_cast<int64_t>(x.size()), static_cast<int64_t>(y[0].size()));
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t k = 0; k < y.size(); ++k) {
      for (size_t j = 0; j < y[0].size(); ++j) product[i][j] += x[i][k] * y[k][j];
    }
  }
  return product;
}

inline double SquaredSize(const Rows& x) {
  double sum = 0;
  for (const auto& row : x) {
    for (const double v : row) sum += v * v;
  }
  return sum;
}

inline double Distance(const Rows& x, const Rows& y) {
  return std::sqrt(SquaredSize(Plus(x, y, -1)));
}

// Of `got`, as a share of the size of `want`.
inline double RelativeError(const Rows& got, const Rows& want) {
  return Distance(got, want) / std::sqrt(SquaredSize(want));
}

inline LowRank Factors(const Rows& b, const Rows& a) {
  return {.rows = static_cast<int64_t>(b.size()),
          .columns = static_cast<int64_t>(a[0].size()),
          .rank = static_cast<int64_t>(a.size()),
          .b = Flat(b),
          .a = Flat(a)};
}

inline Rows ProductOf(const LowRank& x) {
  if (x.rank == 0) return Zeros(x.rows, x.columns);
  return Times(Unflat(x.b, x.rank), Unflat(x.a, x.columns));
}

inline Rows ProductOf(const ModuleDelta& x) {
  return x.dense.empty() ? ProductOf(x.factors) : Unflat(x.dense, x.factors.columns);
}

inline LowRank RandomFactors(int64_t rows, int64_t columns, int64_t rank, Rng& rng) {
  LowRank x{.rows = rows, .columns = columns, .rank = rank};
  for (int64_t i = 0; i < rows * rank; ++i) x.b.push_back(static_cast<float>(rng.Normal()));
  for (int64_t i = 0; i < rank * columns; ++i) x.a.push_back(static_cast<float>(rng.Normal()));
  return x;
}

// One module, "w", of these factors.
inline AdapterUpdate UpdateOf(WorkOrderId order, double weight, const LowRank& x,
                              double scale = 1) {
  return {.order = order,
          .weight = weight,
          .modules = {{.name = "w", .rank = x.rank, .scale = scale, .b = x.b, .a = x.a}}};
}

// For one module, "w".
inline LoraDeps DepsFor(int64_t rows, int64_t columns, int64_t min_rank = 1,
                        int64_t max_rank = 64) {
  LoraDeps deps;
  deps.spec.modules["w"] = {.rows = rows, .columns = columns};
  deps.spec.min_rank = min_rank;
  deps.spec.max_rank = max_rank;
  return deps;
}

inline absl::StatusOr<LoraAggregate> Combine(const std::string& rule, const LoraDeps& deps,
                                             const std::vector<AdapterUpdate>& updates,
                                             nlohmann::json options = nlohmann::json::object()) {
  TRIB_ASSIGN_OR_RETURN(auto aggregator,
                        LoraAggregatorRegistry().Create({rule, std::move(options), {}}, deps));
  for (const AdapterUpdate& update : updates) {
    TRIB_RETURN_IF_ERROR(aggregator->Accumulate(update));
  }
  return std::move(*aggregator).Finish();
}

// What a rule makes of the product: of the weights and of the adapter together.
inline Rows Combined(const std::string& rule, const LoraDeps& deps,
                     const std::vector<AdapterUpdate>& updates) {
  const LoraAggregate aggregate = Combine(rule, deps, updates).value();
  const MatrixShape& shape = deps.spec.modules.at("w");
  Rows sum = Zeros(shape.rows, shape.columns);
  if (aggregate.delta.contains("w")) sum = Plus(sum, ProductOf(aggregate.delta.at("w")));
  if (aggregate.start.contains("w")) sum = Plus(sum, ProductOf(aggregate.start.at("w")));
  return sum;
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_AGGREGATORS_LORA_ADAPTERS_H_
