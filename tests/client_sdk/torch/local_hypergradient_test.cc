// FedHyper's client side against figures done by hand, and against a run of the authors' code.
#include "client_sdk/torch/local_hypergradient.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"

namespace tributary {
namespace {

using test::ParamsNear;

// That run: softmax regression of 5 features in 3 classes, batches of 5 of these 40 examples in
// order, 3 passes, SGD of rate 0.05 and momentum 0.5. First the 15 weights, then the 3 biases.
constexpr size_t kExamples = 40, kFeatures = 5, kClasses = 3, kBatch = 5;
const std::vector<float> kInputs = {
    -0.23857652F,  -1.0934466F,   1.6558493F,   0.17499483F,   -0.95255643F,  0.95577729F,
    1.1985201F,    0.96036416F,   -1.1074066F,  -0.84031689F,  1.4979976F,    0.22401108F,
    0.87661475F,   -0.53792316F,  -0.29942852F, 2.4785347F,    1.5817887F,    -0.2637051F,
    -0.81720954F,  1.4276156F,    3.2597544F,   1.1749487F,    0.2643733F,    -0.68433654F,
    1.3014252F,    -0.010811541F, 0.90694475F,  0.70396447F,   -0.47588533F,  -0.098165043F,
    0.21073741F,   -0.24714126F,  0.94109309F,  0.52575159F,   -0.78881913F,  0.087065876F,
    1.2475312F,    0.91139686F,   -0.56146646F, 1.1891712F,    -0.60954195F,  -0.42021054F,
    0.75674599F,   0.24290596F,   0.94711316F,  3.2862692F,    -0.7762168F,   -0.15037805F,
    -1.6736341F,   0.46774864F,   -0.62179238F, -0.63221878F,  1.5811983F,    -0.30789465F,
    0.73990643F,   -0.65570623F,  1.8716058F,   2.3699598F,    -1.5539001F,   -1.0817456F,
    -0.78423357F,  0.86559707F,   -0.99254537F, -1.682264F,    -0.82237929F,  1.7160856F,
    -1.4521801F,   2.5167084F,    -1.3481127F,  0.061227586F,  0.19846523F,   3.5584249F,
    0.45930243F,   -0.3159163F,   0.13191323F,  2.0025158F,    1.0440111F,    2.6304071F,
    0.15505607F,   0.94544995F,   1.7223125F,   0.30579856F,   -0.30558437F,  -2.4703538F,
    0.96291274F,   0.56923479F,   1.09381F,     -1.0941449F,   -0.035027511F, 0.78141022F,
    0.10301991F,   0.27715647F,   0.30913076F,  0.49750078F,   -1.084157F,    2.6568108F,
    -0.75492328F,  0.22659588F,   0.69121093F,  0.87764323F,   0.057011139F,  -0.25015658F,
    1.3996148F,    0.28280786F,   1.7663095F,   1.4242939F,    -0.26562613F,  -0.40080461F,
    -2.1855423F,   -0.25395888F,  0.6209079F,   -1.0741807F,   0.64476866F,   0.14432457F,
    0.34988332F,   1.445798F,     -0.30569363F, 0.088410191F,  -2.1524251F,   0.049220569F,
    -0.081157982F, -0.31547606F,  0.46861583F,  -0.58771211F,  1.0288661F,    -1.2909652F,
    1.597468F,     -2.0856416F,   0.45840061F,  0.48557526F,   0.039893456F,  0.7813831F,
    0.68995947F,   -1.5071034F,   1.7292075F,   3.0313284F,    1.613839F,     -0.71873367F,
    -1.5640035F,   -0.61991477F,  1.5070122F,   -0.018821649F, -1.4844658F,   -0.31673208F,
    -0.74107683F,  0.20317006F,   0.76815331F,  -0.75756961F,  -0.29601228F,  0.27257317F,
    0.80119628F,   -0.43734953F,  2.5795231F,   0.54744226F,   -0.82154167F,  0.72709793F,
    -1.2195371F,   0.55091864F,   -0.97528511F, 0.81214154F,   0.98338383F,   -0.7766661F,
    1.9421262F,    -0.58510691F,  -1.3077354F,  0.73373032F,   1.8545971F,    0.27937102F,
    0.58261472F,   0.22578114F,   0.89942157F,  -0.65217799F,  0.48206276F,   -1.0371797F,
    -0.73574805F,  1.9098812F,    0.31856409F,  1.8381958F,    0.41613802F,   -0.88428432F,
    -0.85457969F,  2.2843637F,    1.8426374F,   -1.9076145F,   -1.24236F,     2.6670294F,
    -0.30054122F,  -0.023465671F, 0.23979458F,  1.3882571F,    -1.1344241F,   1.2063119F,
    0.078841172F,  -1.0153356F,   -2.9213598F,  0.39956993F,   0.74577051F,   0.57863742F,
    0.76353687F,   -1.6633373F};
const std::vector<size_t> kLabels = {2, 0, 0, 0, 0, 1, 2, 1, 2, 0, 2, 1, 2, 2, 1, 2, 0, 0, 1, 0,
                                     2, 0, 0, 1, 1, 1, 1, 0, 0, 0, 2, 0, 2, 2, 0, 0, 1, 0, 1, 2};
const std::vector<float> kStart = {
    -0.44340017F, -0.35278949F,  -0.1915483F,  -0.42310447F,  -0.025388887F, -0.39344394F,
    0.2431642F,   0.21797134F,   0.084452897F, 0.34690955F,   -0.043798912F, 0.26787257F,
    -0.31319183F, -0.088128969F, -0.39875627F, -0.036309052F, -0.29014748F,  0.40176135F};
const std::vector<float> kGlobalUpdate = {
    0.01989116F,   -0.032473698F, 0.026757633F,  0.03197341F,   0.0043023056F,  -0.038057867F,
    0.0039512799F, 0.016488159F,  -0.035915568F, -0.082451582F, -0.0019002572F, -0.0069396584F,
    -0.0638799F,   -0.06720072F,  -0.022303274F, -0.043089241F, -0.0070002698F, -0.073793113F};
const std::vector<float> kEnd = {
    0.23058163F,  -0.24637733F, -0.47955045F, -0.4450247F,  0.049592577F, -0.74130589F,
    0.53493863F,  0.096226156F, -0.17642906F, 0.14805983F,  -0.36991885F, -0.13031401F,
    0.096555494F, 0.19467324F,  -0.27488801F, 0.072339952F, -0.25074133F, 0.25370619F};
const std::vector<double> kRates = {
    0.05,          0.05,          0.04994481377, 0.05014880408, 0.05038122791, 0.05054692466,
    0.05077679611, 0.05103807375, 0.05118845847, 0.05118845847, 0.05144311185, 0.05156682806,
    0.05172398861, 0.0518136427,  0.05191548859, 0.05200402479, 0.05205797732, 0.05205797732,
    0.05217764207, 0.0522298548,  0.05233281488, 0.05239123716, 0.0524637726,  0.05250796954};

// Of the mean cross entropy over the batch that begins with example `first`.
std::vector<double> Gradient(const std::vector<double>& w, size_t first) {
  std::vector<double> gradient(w.size());
  for (size_t n = first; n < first + kBatch; ++n) {
    const float* x = &kInputs[n * kFeatures];
    std::array<double, kClasses> share{};
    double sum = 0;
    for (size_t c = 0; c < kClasses; ++c) {
      double logit = w[kClasses * kFeatures + c];
      for (size_t j = 0; j < kFeatures; ++j) logit += w[c * kFeatures + j] * double{x[j]};
      sum += share[c] = std::exp(logit);
    }
    for (size_t c = 0; c < kClasses; ++c) {
      const double error = (share[c] / sum - (kLabels[n] == c ? 1 : 0)) / kBatch;
      for (size_t j = 0; j < kFeatures; ++j) gradient[c * kFeatures + j] += error * double{x[j]};
      gradient[kClasses * kFeatures + c] += error;
    }
  }
  return gradient;
}

TEST(LocalHypergradientTest, DisplacementGoesAsTheAuthorsCode) {
  constexpr double kRate = 0.05, kMomentum = 0.5;
  // Their weight is 0.1 over the number of clients, 5.
  LocalHypergradient rule({.global_weight = 0.1 / 5}, kRate, 24, kGlobalUpdate);
  std::vector<double> w(kStart.begin(), kStart.end()), velocity(w.size());
  double factor = 1;
  for (size_t step = 0; step < kRates.size(); ++step) {
    EXPECT_NEAR(kRate * factor, kRates[step], 1e-8) << "step " << step;
    const size_t in_pass = step % (kExamples / kBatch);
    const std::vector<double> gradient = Gradient(w, in_pass * kBatch);
    std::vector<float> displacement;
    for (size_t i = 0; i < w.size(); ++i) {
      velocity[i] = kMomentum * velocity[i] + gradient[i];
      const double move = -kRate * factor * velocity[i];
      displacement.push_back(static_cast<float>(move));
      w[i] += move;
    }
    factor = rule.Follow(displacement, /*first_of_pass=*/in_pass == 0);
  }
  EXPECT_THAT(std::vector<float>(w.begin(), w.end()), ParamsNear(kEnd, 1e-6));
}

// K = 2: x = 0.01, y = 0.02; then x = −0.01, y = −0.01.
TEST(LocalHypergradientTest, DisplacementByHand) {
  LocalHypergradient rule({}, 0.1, 2, {0.2F, 0});
  EXPECT_EQ(rule.Follow(std::vector<float>{9, 9}, true), 1) << "the first step of a pass";
  EXPECT_NEAR(rule.Follow(std::vector<float>{0.1F, 0.1F}, false), 1.03, 1e-7);
  EXPECT_NEAR(rule.Follow(std::vector<float>{-0.1F, 0}, false), 1.0094, 1e-7);
}

TEST(LocalHypergradientTest, GrowthIsCappedAndTheFallEndsAtTheBound) {
  LocalHypergradient up({.bound = 1.15}, 0.1, 1, {5});
  EXPECT_DOUBLE_EQ(up.Follow(std::vector<float>{1}, false), 1.1);
  EXPECT_DOUBLE_EQ(up.Follow(std::vector<float>{1}, false), 1.15);
  LocalHypergradient down({}, 0.1, 1, {5});
  EXPECT_DOUBLE_EQ(down.Follow(std::vector<float>{-3}, false), 0.1);
}

// cos = 0.6 with both, then −1 with the step before and −0.6 with the global update.
TEST(LocalHypergradientTest, CosineByHand) {
  LocalHypergradient rule({.rule = "cosine"}, 0.1, 7, {1, 0});
  const double first = 1 + 0.02 * (0.6 + 0.6);
  EXPECT_NEAR(rule.Follow(std::vector<float>{3, 4}, false), first, 1e-12);
  EXPECT_NEAR(rule.Follow(std::vector<float>{-3, -4}, false), first * (1 - 0.02 * 1.6), 1e-12);
  LocalHypergradient local({.rule = "cosine", .global_weight = 0.0}, 0.1, 7, {1, 0});
  EXPECT_NEAR(local.Follow(std::vector<float>{3, 4}, false), 1 + 0.02 * 0.6, 1e-12);
}

// β₀ = 0.1, K = 2, Δ = (1, 0). g = (2, 1): h = −(2·1)/2, past the bound where the gain is 1.
// Then g = (−1, 0.5): h = −1.5 + 1/2.
TEST(LocalHypergradientTest, GradientByHand) {
  LocalHypergradient rule({.rule = "gradient", .bound = 2, .gain = 1}, 0.1, 2, {1, 0});
  EXPECT_NEAR(rule.Follow(std::vector<float>{-0.2F, -0.1F}, true), 0.5, 1e-7);
  LocalHypergradient slow({.rule = "gradient", .bound = 9, .gain = 0.01}, 0.1, 2, {1, 0});
  const double first = 0.1 - 0.01 * 2 / 2;
  EXPECT_NEAR(0.1 * slow.Follow(std::vector<float>{-0.2F, -0.1F}, true), first, 1e-7);
  const auto second = static_cast<float>(first);
  EXPECT_NEAR(0.1 * slow.Follow(std::vector<float>{second, -0.5F * second}, false),
              first + 0.01 * (-1.5 + 0.5), 1e-7);
}

TEST(LocalHypergradientTest, WithoutAGlobalUpdateTheStepsSpeakAlone) {
  for (const char* name : {"displacement", "cosine", "gradient"}) {
    LocalHypergradient rule({.rule = name}, 0.1, 4, {});
    EXPECT_EQ(rule.Follow(std::vector<float>{0.1F}, false), 1) << name;
    EXPECT_GT(rule.Follow(std::vector<float>{0.1F}, false), 1) << name;
  }
}

TEST(LocalHypergradientTest, ABoundOfOneHoldsTheRate) {
  for (const char* name : {"displacement", "cosine", "gradient"}) {
    LocalHypergradient rule({.rule = name, .bound = 1}, 0.1, 4, {1, 2});
    for (const float x : {1.0F, -2.0F, 0.0F, 3.0F}) {
      EXPECT_EQ(rule.Follow(std::vector<float>{x, 1}, false), 1) << name;
    }
  }
}

}  // namespace
}  // namespace tributary
