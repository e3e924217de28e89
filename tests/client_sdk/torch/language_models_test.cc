#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_sdk/torch/token_predictor.h"
#include "client_sdk/torch/torch_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/torch/language_oracle.h"
#include "tests/client_sdk/torch/small_language_models.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::OracleLogits;
using test::OracleLoss;
using test::RandomParams;
using test::SmallGpt;
using test::SmallLlama;
using test::SmallQwen;
using test::StatusIs;
using test::Values;
using test::ValuesOf;
using ::testing::ElementsAreArray;
using ::testing::Eq;
using ::testing::HasSubstr;

constexpr int64_t kLength = 7;
constexpr int64_t kVocabulary = 11;

JobInfo Job(const BuiltinModel& spec, const std::string& optimizer = "{\"sgd\":{}}") {
  JobInfo job;
  job.model_json = absl::StrCat("{\"builtin\":", config::Print(spec).dump(), "}");
  job.train_json = absl::StrCat("{\"optimizer\":", optimizer, "}");
  return job;
}

DataShape TextShape() { return {{kLength}, kVocabulary, /*tokens=*/true}; }

// So many windows of random tokens.
DataView Text(int64_t windows, uint64_t seed = 1) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {kLength};
  data->num_classes = kVocabulary;
  Rng rng(seed);
  for (int64_t i = 0; i < windows * (kLength + 1); ++i) {
    data->tokens.push_back(static_cast<int32_t>(rng.UniformInt(kVocabulary)));
  }
  return DataView::All(std::move(data));
}

// Values that are no beginning: norms and biases too are all different.
ParamVector SomeValues(const BuiltinModel& spec, float scale = 0.4F) {
  const ParamVector first = *TorchWorker().InitialModel(Job(spec), TextShape(), 1);
  return RandomParams(first.layout(), 7, scale);
}

std::string NameOf(const ::testing::TestParamInfo<BuiltinModel>& info) {
  return info.param.qkv_bias ? "qwen" : info.param.name;
}

class LanguageModelTest : public ::testing::TestWithParam<BuiltinModel> {
 protected:
  BuiltinModel WithSizes() const {
    BuiltinModel spec = GetParam();
    spec.context = kLength;
    spec.vocabulary = kVocabulary;
    return spec;
  }
};

INSTANTIATE_TEST_SUITE_P(All, LanguageModelTest,
                         ::testing::Values(SmallGpt(), SmallLlama(), SmallQwen()), NameOf);

TEST_P(LanguageModelTest, LogitsAreThoseOfTheFormulasInDouble) {
  const ParamVector model = SomeValues(GetParam());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(WithSizes(), model.Clone()));
  for (const std::vector<int32_t>& tokens :
       {std::vector<int32_t>{3}, {0, 10, 4, 4, 9}, {1, 2, 3, 4, 5, 6, 7}}) {
    const test::Rows expected = OracleLogits(GetParam(), ValuesOf(model), tokens);
    TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<float> logits, predictor->Logits(tokens));
    ASSERT_EQ(logits.size(), tokens.size() * kVocabulary);
    for (size_t i = 0; i < logits.size(); ++i) {
      ASSERT_NEAR(logits[i], expected[i / kVocabulary][i % kVocabulary], 2e-5) << "logit " << i;
    }
  }
}

// A step of SGD with rate 1 is the gradient; the oracle's comes from differences of its loss.
TEST_P(LanguageModelTest, GradientsAreThoseOfTheOraclesLoss) {
  const DataView data = Text(3);
  const ParamVector start = SomeValues(GetParam());
  ParamVector model = start.Clone();
  TrainTask task;
  task.job = Job(GetParam(), "{\"sgd\":{\"learning_rate\":1}}");
  task.local_steps = 1;
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, TorchWorker().Train(task, data, model));
  Values values = ValuesOf(start);
  const auto loss = [&] {
    return OracleLoss(GetParam(), values, data.dataset->tokens, kLength + 1);
  };
  EXPECT_NEAR(result.loss, loss(), 1e-5);
  constexpr double kStep = 1e-4;
  for (auto& [name, tensor] : values) {
    for (size_t i = 0; i < tensor.size(); i += std::max<size_t>(1, tensor.size() / 5)) {
      const double value = tensor[i];
      tensor[i] = value + kStep;
      const double above = loss();
      tensor[i] = value - kStep;
      const double below = loss();
      tensor[i] = value;
      EXPECT_NEAR(start.View(name)[i] - model.View(name)[i], (above - below) / (2 * kStep), 1e-5)
          << name << "[" << i << "]";
    }
  }
}

TEST_P(LanguageModelTest, NoTokenSeesWhatComesAfterIt) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(WithSizes(), SomeValues(GetParam())));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto one, predictor->Logits({1, 2, 3, 4, 5}));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto other, predictor->Logits({1, 2, 3, 9, 0}));
  for (size_t i = 0; i < 3 * kVocabulary; ++i) EXPECT_EQ(one[i], other[i]);
  EXPECT_NE(one[3 * kVocabulary], other[3 * kVocabulary]);
}

TEST_P(LanguageModelTest, BeginsAsGpt2Does) {
  BuiltinModel spec = GetParam();
  spec.width = 48;
  spec.mlp_width = 96;
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model,
                            worker.InitialModel(Job(spec), TextShape(), 5));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector same, worker.InitialModel(Job(spec), TextShape(), 5));
  EXPECT_THAT(same.values(), ElementsAreArray(model.values()));
  for (const ParamLayout::Tensor& tensor : model.layout()->tensors()) {
    const auto values = model.View(tensor.name);
    if (tensor.shape.size() == 1) {
      const float value = tensor.name.ends_with(".bias") ? 0.0F : 1.0F;
      EXPECT_THAT(values, ::testing::Each(Eq(value))) << tensor.name;
      continue;
    }
    double square = 0;
    for (const float value : values) square += static_cast<double>(value) * value;
    const bool writes = tensor.name.ends_with("c_proj.weight") ||
                        tensor.name.ends_with("o_proj.weight") ||
                        tensor.name.ends_with("down_proj.weight");
    const double deviation = writes ? 0.02 / std::sqrt(2.0 * 2) : 0.02;
    const auto size = static_cast<double>(values.size());
    // Five standard errors of an estimated deviation.
    EXPECT_NEAR(std::sqrt(square / size), deviation, 5 * deviation / std::sqrt(2 * size))
        << tensor.name;
  }
}

TEST_P(LanguageModelTest, EvaluatesTokensAndTellsThePerplexity) {
  const DataView data = Text(200);  // three batches
  const ParamVector model = SomeValues(GetParam());
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result,
                            TorchWorker().Evaluate({.job = Job(GetParam())}, data, model));
  const Values values = ValuesOf(model);
  const auto& tokens = data.dataset->tokens;
  EXPECT_EQ(result.num_examples, 200);
  EXPECT_NEAR(result.loss, OracleLoss(GetParam(), values, tokens, kLength + 1), 1e-5);
  EXPECT_DOUBLE_EQ(result.metrics.at("perplexity"), std::exp(result.loss));
  double correct = 0;
  for (size_t start = 0; start < tokens.size(); start += kLength + 1) {
    const auto window = absl::MakeConstSpan(tokens).subspan(start, kLength + 1);
    const test::Rows logits = OracleLogits(GetParam(), values, window.first(kLength));
    for (size_t t = 0; t < kLength; ++t) {
      const auto largest = std::max_element(logits[t].begin(), logits[t].end());
      correct += largest - logits[t].begin() == window[t + 1] ? 1 : 0;
    }
  }
  EXPECT_DOUBLE_EQ(result.accuracy, correct / (200 * kLength));
}

TEST_P(LanguageModelTest, LearnsWhatFollowsAToken) {
  auto data = std::make_shared<Dataset>(*Text(64).dataset);
  for (size_t i = 0; i < data->tokens.size(); ++i) {
    // Within a window each token is three more than the one before.
    if (i % (kLength + 1) != 0) data->tokens[i] = (data->tokens[i - 1] + 3) % kVocabulary;
  }
  const DataView view = DataView::All(std::move(data));
  TrainTask task;
  task.job = Job(GetParam(), "{\"adam\":{\"learning_rate\":0.01}}");
  task.local_steps = 150;
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(task.job, TextShape(), 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult before,
                            worker.Evaluate({.job = task.job}, view, model));
  EXPECT_NEAR(before.metrics.at("perplexity"), kVocabulary, 1);
  EXPECT_THAT(worker.Train(task, view, model).status(), test::IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult after,
                            worker.Evaluate({.job = task.job}, view, model));
  EXPECT_EQ(after.accuracy, 1.0);
  EXPECT_LT(after.metrics.at("perplexity"), 1.1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(WithSizes(), std::move(model)));
  EXPECT_THAT(predictor->Continue({2}, {.tokens = 5}),
              test::IsOkAndHolds(::testing::ElementsAre(5, 8, 0, 3, 6)));
}

TEST_P(LanguageModelTest, ContinuesByTheLikeliestOrByDrawing) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(WithSizes(), SomeValues(GetParam())));
  std::vector<int32_t> expected = {4, 1};
  for (int i = 0; i < 9; ++i) {  // further than the context, which slides
    const size_t seen = std::min<size_t>(expected.size(), kLength);
    TRIB_ASSERT_OK_AND_ASSIGN(const auto logits,
                              predictor->Logits(absl::MakeConstSpan(expected).last(seen)));
    const auto last = logits.end() - kVocabulary;
    expected.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const auto greedy, predictor->Continue({4, 1}, {.tokens = 9}));
  EXPECT_THAT(greedy, ElementsAreArray(expected.begin() + 2, expected.end()));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto drawn,
                            predictor->Continue({4}, {.tokens = 30, .temperature = 5, .seed = 3}));
  EXPECT_THAT(predictor->Continue({4}, {.tokens = 30, .temperature = 5, .seed = 3}),
              test::IsOkAndHolds(drawn));
  EXPECT_THAT(predictor->Continue({4}, {.tokens = 30, .temperature = 5, .seed = 4}),
              test::IsOkAndHolds(::testing::Ne(drawn)));
  EXPECT_THAT(predictor->Continue({4, 1}, {.tokens = 9, .temperature = 1e-4}),
              test::IsOkAndHolds(greedy));
}

TEST_P(LanguageModelTest, RefusesWhatItCannotRead) {
  using Code = absl::StatusCode;
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(WithSizes(), SomeValues(GetParam())));
  EXPECT_THAT(predictor->Logits({}),
              StatusIs(Code::kInvalidArgument, HasSubstr("0 tokens; allowed: 1 to 7")));
  EXPECT_THAT(predictor->Logits(std::vector<int32_t>(8)),
              StatusIs(Code::kInvalidArgument, HasSubstr("8 tokens; allowed: 1 to 7")));
  EXPECT_THAT(predictor->Logits({1, 11}),
              StatusIs(Code::kInvalidArgument, HasSubstr("token 11 is out of range [0, 11)")));
  EXPECT_THAT(predictor->Continue({1}, {.tokens = 1, .temperature = -1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("temperature -1")));
  EXPECT_THAT(TokenPredictor::Create(GetParam(), SomeValues(GetParam())),
              StatusIs(Code::kInvalidArgument, HasSubstr("'context' and 'vocabulary'")));
  TorchWorker worker;
  EXPECT_THAT(
      worker.InitialModel(Job(GetParam()), {{784}, 10}, 1),
      StatusIs(Code::kInvalidArgument, HasSubstr("reads text; the data are labelled examples")));
  BuiltinModel small = WithSizes();
  small.context = kLength - 1;
  EXPECT_THAT(worker.InitialModel(Job(small), TextShape(), 1),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("model.builtin.context is 6; the data need 7 or more")));
  small = WithSizes();
  small.vocabulary = 10;
  EXPECT_THAT(worker.InitialModel(Job(small), TextShape(), 1),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("model.builtin.vocabulary is 10; the data need 11 or more")));
}

TEST(TextTest, OtherModelsRefuseIt) {
  for (const char* name : {"logistic", "mlp", "cnn", "resnet"}) {
    BuiltinModel spec;
    spec.name = name;
    EXPECT_THAT(TorchWorker().InitialModel(Job(spec), TextShape(), 1),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(absl::StrCat("model ", name, " does not read text"))));
  }
}

std::vector<std::string> Described(const BuiltinModel& spec) {
  const ParamVector model = *TorchWorker().InitialModel(Job(spec), TextShape(), 1);
  std::vector<std::string> lines;
  for (const ParamLayout::Tensor& tensor : model.layout()->tensors()) {
    lines.push_back(absl::StrCat(tensor.name, " ", absl::StrJoin(tensor.shape, "x")));
  }
  return lines;
}

TEST(ParameterNamesTest, AreThoseOfHuggingFace) {
  BuiltinModel gpt = SmallGpt();
  gpt.layers = 1;
  gpt.context = 9;
  EXPECT_THAT(Described(gpt),
              ::testing::ElementsAre("wte.weight 11x12", "wpe.weight 9x12", "h.0.ln_1.weight 12",
                                     "h.0.ln_1.bias 12", "h.0.attn.c_attn.weight 12x36",
                                     "h.0.attn.c_attn.bias 36", "h.0.attn.c_proj.weight 12x12",
                                     "h.0.attn.c_proj.bias 12", "h.0.ln_2.weight 12",
                                     "h.0.ln_2.bias 12", "h.0.mlp.c_fc.weight 12x20",
                                     "h.0.mlp.c_fc.bias 20", "h.0.mlp.c_proj.weight 20x12",
                                     "h.0.mlp.c_proj.bias 12", "ln_f.weight 12", "ln_f.bias 12"));
  BuiltinModel llama = SmallLlama();
  llama.layers = 1;
  llama.vocabulary = 13;
  EXPECT_THAT(Described(llama),
              ::testing::ElementsAre("model.embed_tokens.weight 13x16",
                                     "model.layers.0.input_layernorm.weight 16",
                                     "model.layers.0.self_attn.q_proj.weight 16x16",
                                     "model.layers.0.self_attn.k_proj.weight 8x16",
                                     "model.layers.0.self_attn.v_proj.weight 8x16",
                                     "model.layers.0.self_attn.o_proj.weight 16x16",
                                     "model.layers.0.post_attention_layernorm.weight 16",
                                     "model.layers.0.mlp.gate_proj.weight 20x16",
                                     "model.layers.0.mlp.up_proj.weight 20x16",
                                     "model.layers.0.mlp.down_proj.weight 16x20",
                                     "model.norm.weight 16", "lm_head.weight 13x16"));
}

// Six operations for a token and each weight of a matrix, tables that are looked up left out.
TEST(TrainFlopsTest, CountEveryTokenOfAnExample) {
  TorchWorker worker;
  EXPECT_THAT(worker.TrainFlopsPerExample(Job(SmallGpt()), TextShape()),
              test::IsOkAndHolds(6 * kLength * (11 * 12 + 2 * (12 * 36 + 12 * 12 + 2 * 12 * 20))));
  const int64_t blocks = 2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 20 * 16);
  EXPECT_THAT(worker.TrainFlopsPerExample(Job(SmallLlama()), TextShape()),
              test::IsOkAndHolds(6 * kLength * (blocks + 11 * 16)));
}

}  // namespace
}  // namespace tributary
