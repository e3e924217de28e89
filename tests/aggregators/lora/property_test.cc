// What holds of adapters and their sums whatever the numbers.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "aggregators/lora/delivery.h"
#include "aggregators/lora/product_svd.h"
#include "aggregators/lora/recompression.h"
#include "common/lora/adapter_start.h"
#include "common/params/half.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::Combine;
using test::Combined;
using test::DepsFor;
using test::Distance;
using test::Factors;
using test::IsOk;
using test::Plus;
using test::ProductOf;
using test::RandomFactors;
using test::RelativeError;
using test::Rows;
using test::SquaredSize;
using test::StatusIs;
using test::Times;
using test::Unflat;
using test::UpdateOf;
using test::Zeros;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Client {
  LowRank factors;
  double weight, scale;
};

// Clients of one module with ranks from 1 to `max_rank`.
std::vector<Client> RandomClients(int64_t m, int64_t n, int64_t count, int64_t max_rank, Rng& rng) {
  std::vector<Client> clients;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t rank = 1 + rng.UniformInt(max_rank);
    clients.push_back({RandomFactors(m, n, rank, rng), static_cast<double>(1 + rng.UniformInt(500)),
                       rng.Uniform(0.5, 32) / static_cast<double>(rank)});
  }
  return clients;
}

std::vector<AdapterUpdate> UpdatesOf(const std::vector<Client>& clients) {
  std::vector<AdapterUpdate> updates;
  for (const Client& c : clients) {
    updates.push_back(
        UpdateOf(static_cast<WorkOrderId>(updates.size()), c.weight, c.factors, c.scale));
  }
  return updates;
}

// Σ p·s·B·A in double, by plain loops.
Rows TrueSum(const std::vector<Client>& clients) {
  double weight = 0;
  for (const Client& c : clients) weight += c.weight;
  Rows sum = Zeros(clients[0].factors.rows, clients[0].factors.columns);
  for (const Client& c : clients) {
    sum = Plus(sum, ProductOf(c.factors), c.weight / weight * c.scale);
  }
  return sum;
}

LowRank Stack(const std::vector<Client>& clients) {
  const LowRank& first = clients[0].factors;
  return Combine("lora_stacking", DepsFor(first.rows, first.columns), UpdatesOf(clients))
      .value()
      .delta.at("w");
}

std::unique_ptr<RankPolicy> FixedRank(int64_t rank) {
  return RankPolicyRegistry().Create({"fixed", {{"rank", rank}}, {}}).value();
}

TEST(LoraPropertyTest, P1StackingIsExactInThreeHundredCases) {
  Rng rng(1);
  double worst = 0, padding = 0, average = 0;
  for (int i = 0; i < 300; ++i) {
    const int64_t m = 1 + rng.UniformInt(64), n = 1 + rng.UniformInt(64);
    const std::vector<Client> clients = RandomClients(m, n, 1 + rng.UniformInt(8), 8, rng);
    const Rows want = TrueSum(clients);
    std::vector<float> merged(static_cast<size_t>(m * n));
    AddProduct(Stack(clients), absl::MakeSpan(merged));
    worst = std::max(worst, RelativeError(Unflat(merged, n), want));
    const LoraDeps deps = DepsFor(m, n);
    padding += RelativeError(Combined("lora_zero_padding", deps, UpdatesOf(clients)), want) / 300;
    std::vector<Client> equal = clients;
    for (Client& c : equal) c.factors = RandomFactors(m, n, 4, rng);
    average += RelativeError(Combined("lora_average", DepsFor(m, n, 4, 4), UpdatesOf(equal)),
                             TrueSum(equal)) /
               300;
  }
  std::cout << absl::StrFormat(
      "relative error: lora_stacking at most %.1e; on average lora_average %.2f (one rank), "
      "lora_zero_padding %.2f\n",
      worst, average, padding);
  EXPECT_LE(worst, 1e-6);
  EXPECT_GT(average, 0.1);
  EXPECT_GT(padding, 0.1);
}

// Powers of two scale without rounding: then the stack holds the sum to the last bit of a double.
TEST(LoraPropertyTest, P1StackingLosesNothingButTheRoundingOfWeights) {
  Rng rng(2);
  for (int i = 0; i < 50; ++i) {
    const int64_t m = 1 + rng.UniformInt(20), n = 1 + rng.UniformInt(20);
    std::vector<Client> clients = RandomClients(m, n, 4, 8, rng);
    for (Client& c : clients) {
      c.weight = 16;
      c.scale = std::ldexp(1.0, static_cast<int>(rng.UniformInt(6)) - 3);
    }
    EXPECT_LE(RelativeError(ProductOf(Stack(clients)), TrueSum(clients)), 1e-12);
  }
}

TEST(LoraPropertyTest, P2OrderDoesNotMatter) {
  Rng rng(3);
  std::vector<Client> clients = RandomClients(12, 9, 6, 4, rng);
  const Rows before = ProductOf(Stack(clients));
  rng.Shuffle(absl::MakeSpan(clients));
  EXPECT_LE(RelativeError(ProductOf(Stack(clients)), before), 1e-6);
}

TEST(LoraPropertyTest, P3HalvesOfAClientAreTheClient) {
  Rng rng(4);
  std::vector<Client> clients = RandomClients(12, 9, 3, 4, rng);
  const Rows before = ProductOf(Stack(clients));
  clients[1].weight /= 2;
  clients.push_back(clients[1]);
  EXPECT_LE(RelativeError(ProductOf(Stack(clients)), before), 1e-6);
}

// Rows of zeros that a client appends to A change nothing under stacking, but do under padding:
// where B has a column for them, that is averaged with the others'.
TEST(LoraPropertyTest, P4EmptyRanksDoNotMatter) {
  Rng rng(5);
  std::vector<Client> clients = {{RandomFactors(12, 9, 2, rng), 10, 1},
                                 {RandomFactors(12, 9, 4, rng), 20, 1}};
  const LoraDeps deps = DepsFor(12, 9);
  const Rows stacked = ProductOf(Stack(clients));
  const Rows padded = Combined("lora_zero_padding", deps, UpdatesOf(clients));
  LowRank empty = RandomFactors(12, 9, 2, rng);
  std::fill(empty.a.begin(), empty.a.end(), 0.0F);
  clients[0].factors = Concatenate({&clients[0].factors, &empty});
  EXPECT_LE(RelativeError(ProductOf(Stack(clients)), stacked), 1e-6);
  EXPECT_GT(RelativeError(Combined("lora_zero_padding", deps, UpdatesOf(clients)), padded), 0.05);
}

TEST(LoraPropertyTest, P5OneClientIsItself) {
  Rng rng(6);
  const std::vector<Client> one = {{RandomFactors(12, 9, 4, rng), 17, 0.7}};
  const LoraDeps deps = DepsFor(12, 9, 4, 4);
  for (const char* rule : {"lora_stacking", "lora_average", "lora_zero_padding", "hetlora",
                           "flexlora", "fedex", "lora_fair"}) {
    EXPECT_LE(RelativeError(Combined(rule, deps, UpdatesOf(one)), TrueSum(one)), 1e-6) << rule;
  }
}

TEST(LoraPropertyTest, P6OneAForAllMakesTheAverageExact) {
  Rng rng(7);
  std::vector<Client> clients;
  LoraDeps deps = DepsFor(12, 9, 3, 3);
  for (int k = 0; k < 4; ++k) clients.push_back({RandomFactors(12, 9, 3, rng), 5.0 + k, 2});
  for (Client& c : clients) c.factors.a = clients[0].factors.a;
  const Rows average = Combined("lora_average", deps, UpdatesOf(clients));
  EXPECT_LE(RelativeError(average, TrueSum(clients)), 1e-6);
  deps.start["w"] = clients[0].factors;
  std::vector<AdapterUpdate> b_alone = UpdatesOf(clients);
  for (AdapterUpdate& update : b_alone) update.modules[0].a.clear();
  EXPECT_EQ(Combined("ffa", deps, b_alone), average);
}

TEST(LoraPropertyTest, P7TheSplitOfAProductDoesNotMatter) {
  Rng rng(8);
  std::vector<Client> clients;
  for (int k = 0; k < 3; ++k) clients.push_back({RandomFactors(12, 9, 2, rng), 1, 1});
  const LoraDeps deps = DepsFor(12, 9, 2, 2);
  const Rows stacked = ProductOf(Stack(clients));
  const Rows averaged = Combined("lora_average", deps, UpdatesOf(clients));
  // G = [2 1; 1 1], G⁻¹ = [1 -1; -1 2].
  LowRank& x = clients[1].factors;
  x = Factors(Times(Unflat(x.b, 2), {{2, 1}, {1, 1}}), Times({{1, -1}, {-1, 2}}, Unflat(x.a, 9)));
  EXPECT_LE(RelativeError(ProductOf(Stack(clients)), stacked), 1e-6);
  EXPECT_GT(RelativeError(Combined("lora_average", deps, UpdatesOf(clients)), averaged), 0.1);
}

TEST(LoraPropertyTest, P8RecompressionLosesTheTailAndNothingElse) {
  Rng rng(9);
  const std::vector<Client> clients = RandomClients(40, 30, 4, 5, rng);
  const LowRank stack = Stack(clients);
  const Rows sum = ProductOf(stack);
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(stack));
  double last = std::numeric_limits<double>::infinity();
  for (int64_t rank = 1; rank <= svd.rank(); ++rank) {
    TRIB_ASSERT_OK_AND_ASSIGN(const Recompression parts,
                              Recompress({{"w", stack}}, *FixedRank(rank)));
    const RecompressedModule& part = parts.at("w");
    const Rows error = Plus(sum, ProductOf(part.kept), -1);
    const double energy = SquaredSize(error);
    EXPECT_NEAR(energy, part.tail_energy, 1e-6 * SquaredSize(sum)) << rank;
    EXPECT_LT(energy, last);
    EXPECT_NEAR(std::sqrt(test::SquaredSize(Unflat(part.kept.b, rank))),
                std::sqrt(test::SquaredSize(Unflat(part.kept.a, 30))), 1e-4);
    last = energy;
    if (rank == svd.rank()) break;
    // The largest singular value of the error is the first that was left out.
    TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd rest, SvdOfProduct(part.tail));
    const auto next = svd.values[static_cast<size_t>(rank)];
    EXPECT_NEAR(rest.values[0], next, 1e-6 * next);
    EXPECT_LE(Distance(ProductOf(part.tail), error), 1e-6 * std::sqrt(SquaredSize(sum)));
  }
  EXPECT_LE(std::sqrt(last), 1e-6 * std::sqrt(SquaredSize(sum)));
}

// U·diag(σ)·Vᵀ must be the product and U, V orthonormal: there is one such thing.
void ExpectIsSvd(const LowRank& x, int64_t rank) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(x));
  ASSERT_EQ(svd.rank(), rank);
  Rows product = Zeros(x.rows, x.columns);
  const auto entry = [](const std::vector<double>& vectors, int64_t length, int64_t k, int64_t i) {
    return vectors[static_cast<size_t>(k * length + i)];
  };
  for (int64_t k = 0; k < rank; ++k) {
    for (int64_t i = 0; i < x.rows; ++i) {
      for (int64_t j = 0; j < x.columns; ++j) {
        product[static_cast<size_t>(i)][static_cast<size_t>(j)] +=
            svd.values[static_cast<size_t>(k)] * entry(svd.left, x.rows, k, i) *
            entry(svd.right, x.columns, k, j);
      }
    }
    for (int64_t l = 0; l < rank; ++l) {
      double left = 0, right = 0;
      for (int64_t i = 0; i < x.rows; ++i) {
        left += entry(svd.left, x.rows, k, i) * entry(svd.left, x.rows, l, i);
      }
      for (int64_t j = 0; j < x.columns; ++j) {
        right += entry(svd.right, x.columns, k, j) * entry(svd.right, x.columns, l, j);
      }
      EXPECT_NEAR(left, k == l ? 1 : 0, 1e-10);
      EXPECT_NEAR(right, k == l ? 1 : 0, 1e-10);
    }
  }
  EXPECT_TRUE(std::is_sorted(svd.values.rbegin(), svd.values.rend()));
  EXPECT_LE(Distance(product, ProductOf(x)), 1e-12 * (1 + std::sqrt(SquaredSize(product))));
}

TEST(LoraPropertyTest, P9SingularValuesOfAnyProduct) {
  Rng rng(10);
  ExpectIsSvd(RandomFactors(17, 13, 5, rng), 5);  // by QR
  ExpectIsSvd(RandomFactors(13, 17, 12, rng), 12);
  ExpectIsSvd(RandomFactors(17, 13, 13, rng), 13);  // formed
  ExpectIsSvd(RandomFactors(9, 13, 40, rng), 9);
  ExpectIsSvd(RandomFactors(1, 1, 1, rng), 1);
  const LowRank x = RandomFactors(17, 13, 4, rng);
  ExpectIsSvd(Concatenate({&x, &x}), 4);  // the same client twice
  ExpectIsSvd(Concatenate({&x, &x, &x, &x}), 4);
  LowRank minus = x;
  Multiply(-1, absl::MakeSpan(minus.b));
  ExpectIsSvd(Concatenate({&x, &minus}), 0);  // cancels
  LowRank zero = x;
  Multiply(0, absl::MakeSpan(zero.b));
  ExpectIsSvd(zero, 0);
  ExpectIsSvd({.rows = 3, .columns = 2}, 0);
}

// Gram matrices in float32 would lose what is below 3·10⁻⁴ of the first.
TEST(LoraPropertyTest, P9SmallSingularValuesAreKept) {
  Rng rng(11);
  LowRank large = RandomFactors(30, 20, 2, rng), small = RandomFactors(30, 20, 2, rng);
  Multiply(1e-7, absl::MakeSpan(small.b));
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(Concatenate({&large, &small})));
  ASSERT_EQ(svd.rank(), 4);
  EXPECT_LT(svd.values[2], 1e-4 * svd.values[1]);
  EXPECT_LE(RelativeError(ProductOf(svd.Part(2, 2)), ProductOf(small)), 1.0);
  EXPECT_LE(Distance(Plus(ProductOf(svd.Part(0, 2)), ProductOf(svd.Part(2, 2))),
                     Plus(ProductOf(large), ProductOf(small))),
            1e-6 * svd.values[0]);
}

TEST(LoraPropertyTest, P10WhatIsNotSentWaitsInTheTail) {
  Rng rng(12);
  LoraDeliveryOptions options{.delivery = "recompressed"};
  options.rank = {.name = "fixed", .options = {{"rank", 3}}, .position = {}};
  const auto delivery = LoraDelivery::Create(options).value();
  Rows sent = Zeros(24, 20), sum = Zeros(24, 20);
  for (int t = 0; t < 12; ++t) {
    const LowRank stack = Stack(RandomClients(24, 20, 4, 3, rng));
    TRIB_ASSERT_OK_AND_ASSIGN(const Delivered step, delivery->Deliver({{"w", stack}}));
    sent = Plus(sent, ProductOf(step.modules.at("w")));
    sum = Plus(sum, ProductOf(stack));
    EXPECT_EQ(step.dropped_energy, 0);
    const Rows tail = ProductOf(delivery->tail().at("w"));
    EXPECT_LE(RelativeError(Plus(sent, tail), sum), 1e-6);
    EXPECT_NEAR(step.tail_energy, SquaredSize(tail), 1e-5 * step.tail_energy);
  }
}

TEST(LoraPropertyTest, P11ArrivalOrderDoesNotMatterAndNothingCountsTwice) {
  Rng rng(13);
  const std::vector<Client> clients = RandomClients(12, 9, 5, 4, rng);
  LoraDeps deps = DepsFor(12, 9);
  deps.given_coefficients = true;
  const std::vector<AdapterUpdate> updates = UpdatesOf(clients);
  std::vector<float> there(12 * 9), back(12 * 9);
  const auto merge = [&](const AdapterUpdate& update, std::vector<float>& w) {
    AddProduct(Combine("lora_stacking", deps, {update}).value().delta.at("w"), absl::MakeSpan(w));
  };
  for (auto u = updates.begin(); u != updates.end(); ++u) merge(*u, there);
  for (auto u = updates.rbegin(); u != updates.rend(); ++u) merge(*u, back);
  EXPECT_LE(RelativeError(Unflat(there, 9), Unflat(back, 9)), 1e-6);
  EXPECT_THAT(Combine("lora_stacking", deps, {updates[0], updates[1], updates[0]}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("work order 0")));
}

TEST(LoraPropertyTest, P12AClientThatMergedIsTheServer) {
  Rng rng(14);
  const LowRank base = RandomFactors(12, 9, 9, rng);
  std::vector<float> server(12 * 9);
  AddProduct(base, absl::MakeSpan(server));
  std::vector<float> client = server;
  const std::vector<Client> clients = RandomClients(12, 9, 3, 2, rng);
  const Rows want = Plus(Unflat(server, 9), TrueSum(clients));
  const ModuleDelta sent = DeltaOf(Stack(clients));
  AddDelta(sent, absl::MakeSpan(server));
  AddDelta(sent, absl::MakeSpan(client));
  EXPECT_EQ(client, server);
  EXPECT_LE(RelativeError(Unflat(client, 9), want), 1e-6);
  // A fresh adapter leaves the weights as they are, and its A is in ±1/√n.
  const LowRank fresh = FreshAdapter(12, 9, 4, rng);
  AddProduct(fresh, absl::MakeSpan(client));
  EXPECT_EQ(client, server);
  const auto [low, high] = std::minmax_element(fresh.a.begin(), fresh.a.end());
  EXPECT_GE(*low, -1.0F / 3);
  EXPECT_LE(*high, 1.0F / 3);
  EXPECT_GT(*high - *low, 0.4F);
}

TEST(LoraPropertyTest, P13ClippedOnceAndJointly) {
  Rng rng(15);
  AdapterSpec spec;
  AdapterUpdate update;
  for (const char* name : {"q", "v"}) {
    spec.modules[name] = {.rows = 12, .columns = 9};
    const LowRank x = RandomFactors(12, 9, 3, rng);
    update.modules.push_back({.name = name, .rank = 3, .scale = 2, .b = x.b, .a = x.a});
  }
  const auto size = [&] {
    double squared = 0;
    for (const AdapterModule& m : update.modules) {
      const LowRank x{.rows = 12, .columns = 9, .rank = 3, .b = m.b, .a = m.a};
      squared += m.scale * m.scale * SquaredSize(ProductOf(x));
    }
    return std::sqrt(squared);
  };
  const double before = size();
  EXPECT_EQ(ClipProducts(before * 1.01, spec, update), 1);
  EXPECT_EQ(size(), before);
  EXPECT_NEAR(ClipProducts(1.5, spec, update), 1.5 / before, 1e-9);
  EXPECT_NEAR(size(), 1.5, 1.5e-6);
  EXPECT_EQ(update.modules[0].scale, update.modules[1].scale);
}

// P14, what is refused, is in adapter_test.cc.

// Where m = r or n = r the shape of a tensor does not tell A from B.
TEST(LoraPropertyTest, P15NamesNotShapes) {
  Rng rng(16);
  for (const auto& [m, n] : {std::pair{4, 4}, {4, 9}, {9, 4}}) {
    const std::vector<Client> clients = {{RandomFactors(m, n, 4, rng), 3, 1},
                                         {RandomFactors(m, n, 4, rng), 5, 1}};
    EXPECT_LE(RelativeError(ProductOf(Stack(clients)), TrueSum(clients)), 1e-6);
  }
  // Two modules of one shape, and sent in either order.
  LoraDeps deps = DepsFor(4, 4);
  deps.spec.modules["v"] = {.rows = 4, .columns = 4};
  const LowRank w = RandomFactors(4, 4, 4, rng), v = RandomFactors(4, 4, 4, rng);
  AdapterUpdate update = UpdateOf(1, 1, w);
  update.modules.push_back({.name = "v", .rank = 4, .b = v.b, .a = v.a});
  for (int i = 0; i < 2; ++i) {
    TRIB_ASSERT_OK_AND_ASSIGN(const LoraAggregate sum, Combine("lora_stacking", deps, {update}));
    EXPECT_EQ(sum.delta.at("w"), w);
    EXPECT_EQ(sum.delta.at("v"), v);
    std::swap(update.modules[0], update.modules[1]);
  }
}

// A thousand steps that are each below what a bfloat16 weight of 1 can take.
TEST(LoraPropertyTest, P16SmallStepsAddUpInFloat32) {
  const LowRank step = Factors({{1e-3}, {1e-3}}, {{1, 0.5}});
  std::vector<float> master(4, 1.0F), direct(4, 1.0F);
  for (int t = 0; t < 1000; ++t) {
    AddProduct(step, absl::MakeSpan(master));
    AddProduct(step, absl::MakeSpan(direct));
    for (float& w : direct) w = BFloat16ToFloat(FloatToBFloat16(w));
  }
  const Rows want = Plus({{1, 1}, {1, 1}}, ProductOf(step), 1000);
  EXPECT_LE(RelativeError(Unflat(master, 2), want), 1e-3);
  EXPECT_GT(RelativeError(Unflat(direct, 2), want), 0.3);
}

TEST(LoraPropertyTest, P17SizesAndWhenDenseIsChosen) {
  // q and v of 32 layers of a 7B Llama at rank 16, in values; then 10 clients' stack.
  const LowRank module{.rows = 4096, .columns = 4096, .rank = 16};
  EXPECT_EQ(64 * FactorValues(module), 8388608);
  EXPECT_EQ(64 * FactorValues({.rows = 4096, .columns = 4096, .rank = 160}), 83886080);
  EXPECT_FALSE(DenseIsNoLarger(4096, 4096, 2047));
  EXPECT_TRUE(DenseIsNoLarger(4096, 4096, 2048));
  // 12·6/18 = 4.
  Rng rng(17);
  for (const int64_t rank : {3, 4, 5}) {
    const LowRank x = RandomFactors(12, 6, rank, rng);
    const auto delivery = LoraDelivery::Create({}).value();
    TRIB_ASSERT_OK_AND_ASSIGN(const Delivered sent, delivery->Deliver({{"w", x}}));
    EXPECT_EQ(sent.modules.at("w").dense.empty(), rank < 4) << rank;
    EXPECT_EQ(sent.values, rank < 4 ? rank * 18 : 72);
    EXPECT_LE(RelativeError(ProductOf(sent.modules.at("w")), ProductOf(x)), 1e-7);
  }
}

}  // namespace
}  // namespace tributary
