// FedHyper's server side against figures done by hand, and against runs of the authors' code.
#include "aggregators/optimize/hypergradient.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

std::unique_ptr<HypergradientOptimizer> Make(const HypergradientOptions& options, int64_t size) {
  return HypergradientOptimizer::Create(options, {.layout = FlatLayout(size)}).value();
}

std::vector<float> Step(ServerOptimizer& optimizer, std::vector<float> delta,
                        const DeltaOrigin& origin = {}) {
  EXPECT_THAT(optimizer.Step(absl::MakeSpan(delta), origin), IsOk());
  return delta;
}

// What a delta of length 1 along `towards`, after (1, 0), makes of a rate of 1.
double RateAfter(const HypergradientOptions& options, std::vector<float> towards,
                 const DeltaOrigin& origin = {}) {
  const auto optimizer = Make(options, 2);
  Step(*optimizer, {1, 0});
  Step(*optimizer, std::move(towards), origin);
  return optimizer->rate();
}

// The mean deltas of the first rounds of a run of 4 clients on 18 parameters, and what the
// authors' code made of them.
const std::vector<std::vector<float>> kDeltas = {
    {-0.07341475F, 0.1031269F, -0.1981088F, -0.1890246F, -0.03223926F, -0.1369383F, 0.1821843F,
     0.07990992F, 0.02167243F, -0.01468417F, 0.06918273F, 0.06063827F, 0.2398394F, -0.1234613F,
     -0.1590873F, 0.1192389F, 0.2377998F, 0.01763596F},
    {-0.05434993F, 0.1168836F, -0.1883477F, -0.1652335F, -0.02949275F, -0.1233343F, 0.1261871F,
     0.09784211F, -0.002481882F, -0.02490591F, 0.07677472F, 0.07253897F, 0.1842083F, -0.09724694F,
     -0.1109939F, 0.1174095F, 0.2127923F, 0.02669574F},
    {-0.08310206F, 0.0919809F, -0.1843239F, -0.1196462F, -0.02365495F, -0.1019482F, 0.1294167F,
     0.05694131F, -0.002434907F, -0.006237753F, 0.07668604F, 0.05492263F, 0.2020398F, -0.1255174F,
     -0.1286073F, 0.1276992F, 0.1979286F, 0.01583104F},
    {-0.05666034F, 0.07738297F, -0.1413773F, -0.135152F, 0.01336987F, -0.1254181F, 0.1124847F,
     0.07103671F, -0.01311463F, -0.03680163F, 0.08918934F, 0.07500182F, 0.1895665F, -0.1169809F,
     -0.1054422F, 0.09812441F, 0.1509283F, 0.0578835F},
    {-0.03406093F, 0.07413992F, -0.1057471F, -0.1339945F, 0.01839842F, -0.09959638F, 0.101637F,
     0.064467F, -0.01534634F, -0.03982826F, 0.04060942F, 0.06799473F, 0.174907F, -0.09529124F,
     -0.1000288F, 0.06178883F, 0.1601465F, 0.05995011F},
    {0.06076674F, -0.05773582F, 0.1330837F, 0.105416F, 0.03485843F, 0.09445488F, -0.1326706F,
     -0.03728613F, 0.008565591F, 0.008281272F, -0.06307468F, -0.06990071F, -0.1461962F, 0.09231904F,
     0.1180886F, -0.05927791F, -0.09902184F, -0.0309059F},
};

TEST(HypergradientTest, RawGlobalByHand) {
  const auto optimizer = Make({.form = "raw"}, 2);
  std::vector<float> w = {0, 0};
  const auto go = [&](std::vector<float> delta) {
    const std::vector<float> step = Step(*optimizer, std::move(delta));
    for (size_t i = 0; i < w.size(); ++i) w[i] += step[i];
  };
  go({1, 0});
  EXPECT_THAT(w, ElementsAre(1, 0));
  go({0.5, 0.5});
  EXPECT_EQ(optimizer->rate(), 1.5);
  EXPECT_THAT(w, ElementsAre(1.75, 0.75));
  go({-1, 0});
  EXPECT_EQ(optimizer->rate(), 1.0);
  EXPECT_THAT(w, ElementsAre(0.75, 0.75));
  go({4, 0});
  EXPECT_DOUBLE_EQ(optimizer->rate(), 1.0 / 3);
  EXPECT_THAT(w, ElementsAre(FloatNear(2.0833333F, 1e-6F), 0.75));
  go({1, 0});
  EXPECT_EQ(optimizer->rate(), 3.0);
  EXPECT_THAT(w, ElementsAre(FloatNear(5.0833333F, 1e-6F), 0.75));
}

TEST(HypergradientTest, WhatTheBoundCutsOffDoesNotPileUp) {
  const auto optimizer = Make({.form = "raw"}, 1);
  for (const float delta : {1.0F, 100.0F}) Step(*optimizer, {delta});
  EXPECT_EQ(optimizer->rate(), 3.0);
  Step(*optimizer, {-0.005F});
  EXPECT_NEAR(optimizer->rate(), 2.5, 1e-6);
}

// F(w) = w²/2, one client, one step of rate 0.1: Δ = −0.1·w.
TEST(HypergradientTest, RawGlobalDownAQuadratic) {
  const auto optimizer = Make({.form = "raw"}, 1);
  float w = 1;
  std::vector<float> walk;
  std::vector<double> rates;
  for (int i = 0; i < 3; ++i) {
    w += Step(*optimizer, {-0.1F * w})[0];
    walk.push_back(w);
    rates.push_back(optimizer->rate());
  }
  EXPECT_THAT(walk, Pointwise(FloatNear(1e-6F), std::vector<float>{0.9F, 0.80919F, 0.7269534F}));
  EXPECT_THAT(rates,
              Pointwise(::testing::DoubleNear(1e-7), std::vector<double>{1, 1.009, 1.01628271}));
}

// h: 0.5, −0.2, −5, then +0.1 from the floor. The clients' rate alone moves.
TEST(HypergradientTest, ServerLocalScalesTheClientsRate) {
  const auto optimizer = Make({.variant = "server_local", .form = "raw"}, 1);
  std::vector<double> rates;
  float before = 1;
  EXPECT_THAT(Step(*optimizer, {before}), ElementsAre(before));
  for (const double h : {0.5, -0.2, -5.0, 0.1}) {
    const auto delta = static_cast<float>(h / double{before});
    EXPECT_THAT(Step(*optimizer, {delta}), ElementsAre(delta));
    EXPECT_EQ(optimizer->rate(), 1.0);
    rates.push_back(optimizer->client_rate());
    before = delta;
  }
  EXPECT_THAT(rates,
              Pointwise(::testing::DoubleNear(1e-6), std::vector<double>{1.5, 1.3, 0.1, 0.2}));
}

TEST(HypergradientTest, GlobalGoesAsTheAuthorsCode) {
  const std::vector<double> rates = {1, 1.28217733, 1.51836944, 1.72458154, 1.89300123, 1.75846925};
  const std::vector<float> first = {-0.0734147727F, -0.069686234F,  -0.126179636F,
                                    -0.0977153182F, -0.0644773245F, 0.106856465F};
  const auto global = Make({.form = "raw", .bound = 5}, 18);
  const auto local = Make({.variant = "server_local", .form = "raw"}, 18);
  for (size_t round = 0; round < kDeltas.size(); ++round) {
    EXPECT_NEAR(Step(*global, kDeltas[round])[0], first[round], 1e-6) << round;
    EXPECT_NEAR(global->rate(), rates[round], 1e-6) << round;
    // There the rate that it meant to hand out: 0.01 times these.
    Step(*local, kDeltas[round]);
    EXPECT_NEAR(local->client_rate(), rates[round], 1e-6) << round;
  }
}

TEST(HypergradientTest, GlobalMomentumGoesAsTheAuthorsCode) {
  const std::vector<double> rates = {1, 1.28217733, 1.76427755, 2.36118934, 3.00132391, 2.33020028};
  const std::vector<float> first = {-0.0734147727F, -0.0883306265F, -0.22944814F,
                                    -0.368365824F,  -0.514691353F,  -0.145911813F};
  const auto optimizer = Make({.variant = "global_momentum", .form = "raw", .bound = 5}, 18);
  for (size_t round = 0; round < kDeltas.size(); ++round) {
    EXPECT_NEAR(Step(*optimizer, kDeltas[round])[0], first[round], 3e-6) << round;
    EXPECT_NEAR(optimizer->rate(), rates[round], 3e-6) << round;
  }
}

TEST(HypergradientTest, ABoundOfOneIsPlainAveraging) {
  for (const char* variant : {"global", "global_momentum", "server_local"}) {
    for (const char* form : {"raw", "cosine"}) {
      const auto optimizer = Make({.variant = variant, .form = form, .bound = 1}, 18);
      for (const std::vector<float>& delta : kDeltas) {
        EXPECT_EQ(Step(*optimizer, delta), delta) << variant << " " << form;
      }
      EXPECT_EQ(optimizer->client_rate(), 1.0);
    }
  }
}

TEST(HypergradientTest, TheRateStaysWithinItsBounds) {
  for (const char* variant : {"global", "global_momentum", "server_local"}) {
    for (const char* form : {"raw", "cosine"}) {
      const auto optimizer = Make({.variant = variant, .form = form, .bound = 4, .gain = 5}, 8);
      const double floor = std::string(variant) == "global_momentum" ? 0.8 : 0.25;
      double lowest = 9, highest = 0;
      for (uint64_t i = 0; i < 200; ++i) {
        const ParamVector delta = RandomParams(FlatLayout(8), i, 3.0F);
        Step(*optimizer, {delta.values().begin(), delta.values().end()});
        const double rate = optimizer->rate() * optimizer->client_rate();
        lowest = std::min(lowest, rate);
        highest = std::max(highest, rate);
      }
      EXPECT_EQ(lowest, floor) << variant << " " << form;
      EXPECT_EQ(highest, 4.0) << variant << " " << form;
    }
  }
}

TEST(HypergradientTest, OrthogonalDeltasLeaveTheRate) {
  for (const char* form : {"raw", "cosine"}) {
    EXPECT_EQ(RateAfter({.form = form}, {0, 1}), 1.0);
    EXPECT_GT(RateAfter({.form = form}, {0.1F, 1}), 1.0);
    EXPECT_LT(RateAfter({.form = form}, {-0.1F, 1}), 1.0);
  }
}

// All deltas times 8: h times 64 in the raw form, the same bits in the other.
TEST(HypergradientTest, OnlyTheRawFormKnowsAScale) {
  const auto rate = [](absl::string_view form, float scale) {
    const auto optimizer = Make({.form = std::string(form), .bound = 1000}, 18);
    for (size_t round = 0; round < 2; ++round) {
      std::vector<float> delta = kDeltas[round];
      Scale(scale, absl::MakeSpan(delta));
      Step(*optimizer, delta);
    }
    return optimizer->rate();
  };
  EXPECT_NEAR(rate("raw", 8) - 1, 64 * (rate("raw", 1) - 1), 1e-9);
  EXPECT_EQ(rate("cosine", 8), rate("cosine", 1));
  EXPECT_EQ(rate("cosine", 1e-17F), 1.0) << "the norms are taken for 0";
}

// cos = 0.6, and −1 at the floor of 1/3.
TEST(HypergradientTest, CosineByHand) {
  EXPECT_DOUBLE_EQ(RateAfter({}, {0.75F, 1}), 1 + 0.2 * 0.6);
  EXPECT_DOUBLE_EQ(RateAfter({.gain = 0.5}, {0.75F, 1}), 1 + 0.5 * 0.6);
  EXPECT_DOUBLE_EQ(RateAfter({.gain = 0.9}, {-2, 0}), 1.0 / 3);
}

TEST(HypergradientTest, ADeltaOfZeroLeavesTheRate) {
  for (const char* form : {"raw", "cosine"}) {
    const auto optimizer = Make({.form = form}, 1);
    for (const float delta : {1.0F, 0.0F, 1.0F}) Step(*optimizer, {delta});
    EXPECT_EQ(optimizer->rate(), 1.0);
  }
}

TEST(HypergradientTest, StaleDeltasCountLess) {
  EXPECT_DOUBLE_EQ(RateAfter({}, {1, 0}, {.mean_staleness = 3}), 1 + 0.2 / 2);
  EXPECT_DOUBLE_EQ(RateAfter({.form = "raw"}, {0.5F, 0}, {.mean_staleness = 3}), 1 + 0.5 / 2);
}

// Half is not more than half. The delta is remembered all the same.
TEST(HypergradientTest, DeltasOfTheSameClientsAndBasesDoNotCount) {
  EXPECT_EQ(RateAfter({}, {1, 0}, {.repeated = 0.51}), 1.0);
  EXPECT_DOUBLE_EQ(RateAfter({}, {1, 0}, {.repeated = 0.5}), 1.2);
  const auto optimizer = Make({}, 2);
  Step(*optimizer, {1, 0});
  Step(*optimizer, {0, 1}, {.repeated = 1});
  Step(*optimizer, {0, 1});
  EXPECT_DOUBLE_EQ(optimizer->rate(), 1.2);
}

TEST(HypergradientTest, TheClientsRateKeepsBelowItsLimitAndDoesNotPileUp) {
  const auto optimizer = Make({.variant = "server_local"}, 2);
  for (int i = 0; i < 5; ++i) Step(*optimizer, {1, 0}, {.client_rate_limit = 1.1});
  EXPECT_EQ(optimizer->client_rate(), 1.1);
  Step(*optimizer, {-1, 0}, {.client_rate_limit = 1.1});
  EXPECT_DOUBLE_EQ(optimizer->client_rate(), 1.1 * 0.8);
  EXPECT_DOUBLE_EQ(RateAfter({.variant = "global"}, {1, 0}, {.client_rate_limit = 0.5}), 1.2)
      << "the server's rate is another one";
}

TEST(HypergradientTest, NothingTakesTheClientsRateAboveItsLimit) {
  const auto optimizer = Make({.variant = "server_local"}, 2);
  for (const float length : {1.0F, 1e6F, 1e12F}) {
    Step(*optimizer, {length, 0}, {.client_rate_limit = 0.01});
    EXPECT_EQ(optimizer->client_rate(), 0.01) << "below 1/bound";
  }
}

// One client of ten whose loss exploded: its delta is all that there is to see of the mean.
TEST(HypergradientTest, ADeltaThatIsTooLongIsShortenedAndHalvesTheClientsRate) {
  const auto optimizer = Make({.variant = "server_local"}, 2);
  Step(*optimizer, {1, 0});
  EXPECT_THAT(Step(*optimizer, {99, 0}), ElementsAre(99, 0)) << "long, and believed";
  EXPECT_DOUBLE_EQ(optimizer->client_rate(), 1.2);
  std::vector<float> beside = {1e18F, 0};
  ASSERT_THAT(optimizer->StepBesideMomentum(absl::MakeSpan(beside), {}), IsOk());
  EXPECT_THAT(beside, Pointwise(FloatNear(1e-4), {99.0F, 0.0F})) << "beside the momentum as well";
  EXPECT_DOUBLE_EQ(optimizer->client_rate(), 1.2);
  EXPECT_THAT(Step(*optimizer, {0, 1e18F}), Pointwise(FloatNear(1e-4), {0.0F, 99.0F}));
  EXPECT_DOUBLE_EQ(optimizer->client_rate(), 0.6);
  // The next one is measured against 100 · 99: a delta that is really that long gets through.
  EXPECT_THAT(Step(*optimizer, {9e5F, 0}), ElementsAre(9e5F, 0));
  EXPECT_DOUBLE_EQ(optimizer->client_rate(), 0.6);
  EXPECT_THAT(Step(*optimizer, {9.1e7F, 0}), Pointwise(FloatNear(1), {9e5F, 0.0F}));
}

TEST(HypergradientTest, LengthDoesNotMatterToTheOthersNorAfterNothing) {
  for (const HypergradientOptions& options :
       {HypergradientOptions{.variant = "global"},
        HypergradientOptions{.variant = "server_local", .form = "raw", .gain = 1e-9}}) {
    const auto optimizer = Make(options, 2);
    Step(*optimizer, {1, 0});
    const std::vector<float> step = Step(*optimizer, {1000, 0});
    EXPECT_GE(step[0], 1000) << options.variant;
  }
  const auto optimizer = Make({.variant = "server_local"}, 2);
  Step(*optimizer, {0, 0});
  EXPECT_THAT(Step(*optimizer, {1e6F, 0}), ElementsAre(1e6F, 0));
  EXPECT_EQ(optimizer->client_rate(), 1.0);
}

TEST(HypergradientTest, AStepBesideItTakesTheRateAndLeavesNothing) {
  for (const char* variant : {"global", "global_momentum", "server_local"}) {
    const auto optimizer = Make({.variant = variant, .form = "raw"}, 1);
    const auto undisturbed = Make({.variant = variant, .form = "raw"}, 1);
    for (const float delta : {1.0F, 0.5F}) {
      EXPECT_EQ(Step(*optimizer, {delta}), Step(*undisturbed, {delta}));
    }
    float beside = 8;
    ASSERT_THAT(optimizer->StepBesideMomentum({&beside, 1}, {}), IsOk());
    EXPECT_EQ(beside, 8 * static_cast<float>(optimizer->rate()));
    EXPECT_EQ(Step(*optimizer, {1}), Step(*undisturbed, {1}));
  }
}

TEST(HypergradientTest, ANewEpochForgetsAll) {
  for (const char* variant : {"global", "global_momentum", "server_local"}) {
    const auto used = Make({.variant = variant}, 2), fresh = Make({.variant = variant}, 2);
    for (int i = 0; i < 3; ++i) Step(*used, {1, 1});
    ASSERT_THAT(used->BeginEpoch([](absl::Span<float>) { return absl::OkStatus(); }), IsOk());
    for (const auto& delta : std::vector<std::vector<float>>{{1, 0}, {1, 2}}) {
      EXPECT_EQ(Step(*used, delta), Step(*fresh, delta));
      EXPECT_EQ(used->client_rate(), fresh->client_rate());
    }
  }
}

TEST(HypergradientTest, RefusesStateOfAnotherLayout) {
  const auto optimizer = Make({}, 2);
  *optimizer->State().vectors.at("previous") = ParamVector(FlatLayout(3));
  std::vector<float> delta = {1, 2};
  EXPECT_THAT(optimizer->Step(absl::MakeSpan(delta), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("previous")));
  EXPECT_THAT(delta, ElementsAre(1, 2));
}

TEST(HypergradientTest, RefusesUnknownVariantsAndForms) {
  for (const char* field : {"variant", "form"}) {
    EXPECT_THAT(
        OptimizerRegistry().Create({"hypergradient", {{field, "local"}}, {}}, OptimizerDeps{}),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

}  // namespace
}  // namespace tributary
