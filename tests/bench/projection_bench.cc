// The orthogonal projection of one version's delta, plain and inside masks, and what it takes to
// learn a task's directions; beside the machine's own limit in the same run, the two products of
// whole float32 matrices that a plain projection is. Prints a table, or with --json one object.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregators/transform/update_transform.h"
#include "common/check.h"
#include "common/cli/format.h"
#include "common/clock.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"
#include "server/live/pool_parallel.h"
#include "tests/testing/params.h"

namespace tributary {
namespace {

absl::Duration Timed(const std::function<void()>& body) {
  static const RealClock clock;
  const absl::Time start = clock.Now();
  body();
  return clock.Now() - start;
}

// A model of square layers.
LayoutPtr Layers(int64_t dim, int64_t count) {
  std::vector<ParamLayout::Tensor> tensors;
  for (int64_t i = 0; i < count; ++i) {
    tensors.push_back({.name = absl::StrCat("fc", i, ".weight"), .shape = {dim, dim}});
  }
  return test::MakeLayout(std::move(tensors));
}

// Of `rank` random inputs, for every layer: the upper triangle of their Gram matrix.
std::vector<double> RandomGrams(int64_t dim, int64_t rank, int64_t layers) {
  Rng rng(1);
  std::vector<double> inputs(static_cast<size_t>(dim * rank)), gram(static_cast<size_t>(dim * dim));
  for (double& x : inputs) x = rng.Normal();
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(dim), static_cast<int>(dim),
              static_cast<int>(rank), 1.0, inputs.data(), static_cast<int>(rank), inputs.data(),
              static_cast<int>(rank), 0.0, gram.data(), static_cast<int>(dim));
  std::vector<double> packed;
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (int64_t i = 0; i < dim; ++i) {
      const auto row = gram.begin() + i * dim;
      packed.insert(packed.end(), row + i, row + dim);
    }
  }
  return packed;
}

Mask RandomMask(int64_t size, double density) {
  Rng rng(2);
  std::vector<bool> keep(static_cast<size_t>(size));
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = rng.Bernoulli(density);
  return Mask(keep);
}

// x·Vᵀ and c·V for all the rows of all layers at once.
absl::Duration WholeProducts(int64_t dim, int64_t rank, int64_t layers) {
  const int d = static_cast<int>(dim), k = static_cast<int>(rank), n = static_cast<int>(dim);
  const ParamVector x = test::RandomParams(test::FlatLayout(dim * dim), 3);
  const ParamVector v = test::RandomParams(test::FlatLayout(rank * dim), 4);
  ParamVector c(test::FlatLayout(dim * rank)), y(x.layout());
  return static_cast<double>(layers) * Timed([&] {
           cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, k, d, 1.0F, x.values().data(), d,
                       v.values().data(), d, 0.0F, c.values().data(), k);
           cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, d, k, -1.0F, c.values().data(),
                       k, v.values().data(), d, 1.0F, y.values().data(), d);
         });
}

struct Case {
  std::string what;
  const Mask* mask;
};

int Main(int argc, char** argv) {
  CLI::App app{"time of an orthogonal projection"};
  int64_t dim = 1826, layers = 3;
  std::vector<double> shares = {0.1, 0.25, 0.5};
  int threads = 2, rounds = 3;
  bool json = false, no_masks = false;
  app.add_option("--dim", dim, "inputs and outputs of a layer")->check(CLI::Range(2, 16384));
  app.add_option("--layers", layers, "of the model")->check(CLI::Range(1, 1000));
  app.add_option("--shares", shares, "of the dimensions that are protected")->delimiter(',');
  app.add_option("--threads", threads, "beside 1")->check(CLI::Range(1, 256));
  app.add_option("--rounds", rounds, "of which the fastest counts")->check(CLI::Range(1, 1000));
  app.add_flag("--no-masks", no_masks, "plain projections alone");
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  WorkerPool pool(std::max(1, threads - 1));
  PoolParallel parallel(&pool, threads - 1);
  const LayoutPtr layout = Layers(dim, layers);
  const ParamVector delta = test::RandomParams(layout, 5);
  const Mask most = RandomMask(delta.layout()->size(), 0.7);
  const Mask few = RandomMask(delta.layout()->size(), 0.1);
  const std::vector<Case> cases = {{"plain", nullptr}, {"mask 70 %", &most}, {"mask 10 %", &few}};
  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"values", "protected", "what", "threads", "ms", "GFLOP/s", "of whole products"}};
  for (const double share : shares) {
    const auto rank = static_cast<int64_t>(std::ceil(share * static_cast<double>(dim)));
    const std::vector<double> grams = RandomGrams(dim, rank, layers);
    absl::Duration limit = absl::InfiniteDuration();
    for (int i = 0; i < rounds; ++i) limit = std::min(limit, WholeProducts(dim, rank, layers));
    const auto add = [&](const std::string& what, int count, absl::Duration best, double flops) {
      const double rate = flops / absl::ToDoubleNanoseconds(best);
      const double of_limit = absl::FDivDuration(limit, best * count);
      rows.push_back({{"values", layout->size()},
                      {"protected", share},
                      {"what", what},
                      {"threads", count},
                      {"seconds", absl::ToDoubleSeconds(best)},
                      {"of_whole_products", of_limit}});
      table.push_back({absl::StrCat(layout->size()), absl::StrFormat("%.2f", share), what,
                       absl::StrCat(count),
                       absl::StrFormat("%.0f", absl::ToDoubleMilliseconds(best)),
                       flops > 0 ? absl::StrFormat("%.0f", rate) : "",
                       flops > 0 ? absl::StrFormat("%.2f", of_limit) : ""});
    };
    const double flops = 4.0 * static_cast<double>(layout->size()) * static_cast<double>(rank);
    add("whole products", 1, limit, flops);
    for (const int count : {1, threads}) {
      const auto transform =
          TransformRegistry()
              .Create({"orthogonal_projection", {{"energy", 1.0}}, {}},
                      TransformDeps{.layout = layout, .parallel = count == 1 ? nullptr : &parallel})
              .value();
      const absl::Duration learning =
          Timed([&] { TRIB_CHECK(transform->Learn(grams, 1, {}, {}).ok()); });
      if (count == 1) add("learn", 1, learning, 0);
      for (const Case& c : cases) {
        if (no_masks && c.mask != nullptr) continue;
        absl::Duration best = absl::InfiniteDuration();
        for (int i = 0; i < (c.mask == nullptr ? rounds : 1); ++i) {
          Aggregate aggregate;
          aggregate.delta = delta.Clone();
          best = std::min(
              best, Timed([&] { TRIB_CHECK(transform->Apply(aggregate, {.mask = c.mask}).ok()); }));
        }
        add(c.what, count, best, c.mask == nullptr ? flops : 0);
      }
    }
  }
  if (json) {
    std::cout << nlohmann::json{{"rows", rows}}.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(table);
  }
  return 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
