// Recompression of a stack of adapters beside the singular value decomposition of its product, on
// one thread. Prints a table, or with --json one object.
#include <lapacke.h>
#include <sys/resource.h>

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
#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/product_svd.h"
#include "aggregators/lora/recompression.h"
#include "common/check.h"
#include "common/cli/format.h"
#include "common/clock.h"
#include "common/params/param_vector.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

double Seconds(const std::function<void()>& body) {
  static const RealClock clock;
  const absl::Time start = clock.Now();
  body();
  return absl::ToDoubleSeconds(clock.Now() - start);
}

double PeakMegabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

// As clients' factors are: B of one size, A of another.
LowRank RandomStack(int64_t dim, int64_t rank) {
  Rng rng(1);
  LowRank x{.rows = dim, .columns = dim, .rank = rank};
  x.b.resize(static_cast<size_t>(dim * rank));
  x.a.resize(x.b.size());
  for (float& v : x.b) v = static_cast<float>(rng.Normal(0, 0.01));
  for (float& v : x.a) v = static_cast<float>(rng.Normal());
  // Columns of B fall in size, as the directions of a trained sum do.
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t k = 0; k < rank; ++k) {
      x.b[static_cast<size_t>(i * rank + k)] /= std::sqrt(1.0F + static_cast<float>(k));
    }
  }
  return x;
}

struct DenseSvd {
  double seconds = 0, megabytes = 0;
  std::vector<double> values;
};

template <typename T>
DenseSvd Decompose(int64_t dim, const std::vector<float>& product,
                   lapack_int (*gesdd)(int, char, lapack_int, lapack_int, T*, lapack_int, T*, T*,
                                       lapack_int, T*, lapack_int)) {
  const auto n = static_cast<lapack_int>(dim);
  std::vector<T> x(product.begin(), product.end()), u(x.size()), vt(x.size());
  std::vector<T> values(static_cast<size_t>(dim));
  DenseSvd result;
  result.seconds = Seconds([&] {
    TRIB_CHECK(gesdd(LAPACK_COL_MAJOR, 'S', n, n, x.data(), n, values.data(), u.data(), n,
                     vt.data(), n) == 0);
  });
  result.megabytes = PeakMegabytes();
  result.values.assign(values.begin(), values.end());
  return result;
}

int Main(int argc, char** argv) {
  CLI::App app{"recompression of stacked adapters against a dense decomposition"};
  int64_t dim = 4096, rank = 256, keep = 16;
  bool json = false, no_dense = false;
  app.add_option("--dim", dim, "inputs and outputs of the module")->check(CLI::Range(2, 16384));
  app.add_option("--rank", rank, "of the stack")->check(CLI::Range(1, 16384));
  app.add_option("--keep", keep, "rank that is sent")->check(CLI::Range(1, 16384));
  app.add_flag("--no-dense", no_dense, "recompression alone");
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  const LowRank stack = RandomStack(dim, rank);
  const auto policy = RankPolicyRegistry().Create({"fixed", {{"rank", keep}}, {}}).value();
  const double before = PeakMegabytes();
  RecompressedModule part;
  const double seconds = Seconds([&] {
    part = std::move(Recompress({{"w", stack}}, *policy).value().at("w"));
  });
  const double megabytes = PeakMegabytes() - before;
  const double factors = static_cast<double>(FactorValues(stack)) * sizeof(double) / 1e6;

  std::vector<float> product(static_cast<size_t>(dim * dim));
  AddProduct(stack, absl::MakeSpan(product));
  std::vector<float> error = product;
  LowRank minus = part.kept;
  Multiply(-1, absl::MakeSpan(minus.b));
  AddProduct(minus, absl::MakeSpan(error));
  const double off = std::fabs(SquaredNorm(error) - part.tail_energy) / part.tail_energy;

  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"what", "seconds", "times", "peak MB", "largest error of a value"}};
  const auto add = [&](const std::string& what, double s, double mb, double worst) {
    rows.push_back({{"what", what}, {"seconds", s}, {"peak_megabytes", mb}, {"error", worst}});
    table.push_back({what, absl::StrFormat("%.2f", s), absl::StrFormat("%.1f", s / seconds),
                     absl::StrFormat("%.0f", mb), absl::StrFormat("%.1e", worst)});
  };
  const std::vector<double> values = SvdOfProduct(stack).value().values;
  add("recompression", seconds, megabytes, 0);
  const auto compare = [&](const std::string& what, const DenseSvd& dense) {
    double worst = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      worst = std::max(worst, std::fabs(dense.values[i] - values[i]) / values[0]);
    }
    add(what, dense.seconds, dense.megabytes - before, worst);
  };
  if (!no_dense) {
    compare("dense sgesdd", Decompose<float>(dim, product, LAPACKE_sgesdd));
    compare("dense dgesdd", Decompose<double>(dim, product, LAPACKE_dgesdd));
  }
  if (json) {
    std::cout << nlohmann::json{{"dim", dim},
                                {"rank", rank},
                                {"keep", keep},
                                {"tail_energy_off", off},
                                {"factors_megabytes", factors},
                                {"rows", rows}}
                     .dump(2)
              << "\n";
  } else {
    std::cout << cli::FormatTable(table)
              << absl::StrFormat(
                     "error² is off the tail's energy by %.1e; the factors in double "
                     "take %.0f MB\n",
                     off, factors);
  }
  return 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
