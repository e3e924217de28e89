#include "common/codec/error_feedback.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/codec/codec_registry.h"
#include "common/codec/dense_payload.h"
#include "common/codec/raw.h"
#include "common/codec/update_payload.h"
#include "common/codec/value_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::MakeParams;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;

// Sends whole numbers only: what it leaves out can be told by heart.
class WholeNumbers final : public Codec {
 public:
  std::string Encode(absl::Span<const float> delta, const CodecContext&) const override {
    std::vector<float> whole;
    for (const float value : delta) whole.push_back(std::trunc(value));
    return {reinterpret_cast<const char*>(whole.data()), 4 * whole.size()};
  }
  absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      PayloadBytes bytes, const CodecContext& context) const override {
    if (broken) return absl::InvalidArgumentError("no");
    return DensePayload::Create(context.layout, "whole", std::make_shared<RawFormat>(),
                                std::move(bytes));
  }
  bool lossless() const override { return false; }

  bool broken = false;
};

std::vector<float> Decoded(const Codec& codec, const EncodedUpdate& update,
                           const CodecContext& context) {
  const auto decoded =
      DecodeUpdate(codec, {.num_examples = 1, .local_steps = 1}, update.payload, context);
  EXPECT_THAT(decoded, IsOk());
  std::vector<float> values(static_cast<size_t>(context.layout->trainable_size()));
  if (decoded.ok()) {
    decoded->delta->AddTo(1.0F, {0, context.layout->trainable_size()}, absl::MakeSpan(values));
  }
  return values;
}

class ErrorFeedbackTest : public ::testing::Test {
 protected:
  EncodedUpdate Encode(std::vector<float> delta, int64_t num_examples,
                       const std::optional<Residual>& before,
                       ErrorFeedback feedback = ErrorFeedback::kByExamples) const {
    auto update = EncodeWithFeedback(codec_, feedback, MakeParams(layout_, std::move(delta)),
                                     num_examples, before ? &*before : nullptr, context_);
    EXPECT_THAT(update, IsOk());
    return update.ok() ? *std::move(update) : EncodedUpdate{};
  }
  std::vector<float> Sent(const EncodedUpdate& update) const {
    return Decoded(codec_, update, context_);
  }

  const LayoutPtr layout_ = FlatLayout(3, 1);
  CodecContext context_{.layout = layout_};
  WholeNumbers codec_;
};

TEST_F(ErrorFeedbackTest, WhatIsLeftOutComesWithTheNextUpdate) {
  const EncodedUpdate first = Encode({1.5F, -2.25F, 0.75F, 9.0F}, 10, std::nullopt);
  EXPECT_THAT(Sent(first), ParamsNear({1, -2, 0}, 0));
  EXPECT_THAT(first.residual->values, ParamsNear({0.5F, -0.25F, 0.75F, 0}, 0)) << "no buffers";
  EXPECT_EQ(first.residual->weight, 10);
  const EncodedUpdate second = Encode({0.5F, 0, 0.5F, 7.0F}, 10, first.residual);
  EXPECT_THAT(Sent(second), ParamsNear({1, 0, 1}, 0));
  EXPECT_THAT(second.residual->values, ParamsNear({0, -0.25F, 0.25F, 0}, 0));
  float buffer = 0;
  std::memcpy(&buffer, second.payload.data() + 12, 4);
  EXPECT_EQ(buffer, 7.0F) << "a value, with which feedback has nothing to do";
}

TEST_F(ErrorFeedbackTest, AResidualCountsByTheExamplesOfTheUpdateThatLeftIt) {
  const EncodedUpdate first = Encode({0.5F, 0.25F, 0, 0}, 30, std::nullopt);
  EXPECT_THAT(Sent(Encode({0, 0, 0, 0}, 10, first.residual)), ParamsNear({1, 0, 0}, 0));
  EXPECT_THAT(Encode({0, 0, 0, 0}, 60, first.residual).residual->values,
              ParamsNear({0.25F, 0.125F, 0, 0}, 0));
  const EncodedUpdate even = Encode({0.5F, 0.25F, 0, 0}, 30, std::nullopt, ErrorFeedback::kEven);
  EXPECT_EQ(even.residual->weight, 1);
  EXPECT_THAT(Encode({0, 0, 0, 0}, 60, even.residual, ErrorFeedback::kEven).residual->values,
              ParamsNear({0.5F, 0.25F, 0, 0}, 0));
}

TEST_F(ErrorFeedbackTest, OffLeavesNothingAndTakesNothing) {
  const EncodedUpdate first = Encode({0.5F, 0.5F, 0.5F, 0}, 1, std::nullopt);
  const EncodedUpdate off = Encode({0.75F, 1.0F, 0, 4.0F}, 1, first.residual, ErrorFeedback::kOff);
  EXPECT_EQ(off.residual, std::nullopt);
  EXPECT_EQ(off.payload,
            EncodeUpdate(codec_, MakeParams(layout_, {0.75F, 1.0F, 0, 4.0F}), context_));
}

TEST_F(ErrorFeedbackTest, AResidualOfAnotherLayoutIsNotUsed) {
  const std::optional<Residual> other =
      Residual{.values = MakeParams(FlatLayout(4), {9, 9, 9, 9}), .weight = 1};
  EXPECT_THAT(Sent(Encode({1, 2, 3, 0}, 1, other)), ParamsNear({1, 2, 3}, 0));
}

TEST_F(ErrorFeedbackTest, PrunedCoordinatesAreForgotten) {
  const Mask mask({true, false, true});
  const std::optional<Residual> residual =
      Residual{.values = MakeParams(layout_, {0.5F, 5.5F, 0.25F, 0}), .weight = 1};
  context_.mask = &mask;
  const EncodedUpdate update = Encode({0, 0, 0, 0}, 1, residual);
  EXPECT_THAT(Sent(update), ParamsNear({0, 0, 0}, 0));
  EXPECT_THAT(update.residual->values, ParamsNear({0.5F, 0, 0.25F, 0}, 0));
}

TEST_F(ErrorFeedbackTest, AResidualThatWouldOverflowIsDropped) {
  const float most = std::nextafter(2 * kValueLimit, 0.0F);
  const std::optional<Residual> huge =
      Residual{.values = MakeParams(layout_, {most, 0.5F, 0, 0}), .weight = 100};
  const EncodedUpdate update = Encode({1, 1.5F, 0, 0}, 1, huge);
  EXPECT_THAT(Sent(update), ParamsNear({1, 1, 0}, 0)) << "and nothing of it is used";
  EXPECT_THAT(update.residual->values, ParamsNear({0, 0.5F, 0, 0}, 0));
}

TEST_F(ErrorFeedbackTest, ACodecThatCannotReadItselfIsAnError) {
  codec_.broken = true;
  EXPECT_THAT(EncodeWithFeedback(codec_, ErrorFeedback::kEven, MakeParams(layout_, {1, 2, 3, 4}), 1,
                                 nullptr, context_),
              StatusIs(absl::StatusCode::kInternal, ::testing::HasSubstr("no")));
}

class MomentumCorrectionTest : public ErrorFeedbackTest {
 protected:
  EncodedUpdate Next(std::vector<float> delta, const EncodedUpdate& before,
                     int64_t num_examples = 10) const {
    return Encode(std::move(delta), num_examples, before.residual,
                  {ErrorFeedback::kByExamples, 0.5});
  }
};

TEST_F(MomentumCorrectionTest, WhatWaitsGathersMomentumUntilItIsSent) {
  const EncodedUpdate first = Next({0.5F, -1.5F, 0, 9}, {});
  EXPECT_THAT(Sent(first), ParamsNear({0, -1, 0}, 0));
  EXPECT_THAT(first.residual->values, ParamsNear({0.5F, -0.5F, 0, 0}, 0));
  EXPECT_THAT(first.residual->momentum, ParamsNear({0.5F, 0, 0, 0}, 0)) << "masked where it went";
  const EncodedUpdate second = Next({0, 0, 0.25F, 9}, first);
  EXPECT_THAT(Sent(second), ParamsNear({0, 0, 0}, 0));
  EXPECT_THAT(second.residual->values, ParamsNear({0.75F, -0.5F, 0.25F, 0}, 0));
  EXPECT_THAT(second.residual->momentum, ParamsNear({0.25F, 0, 0.25F, 0}, 0));
  const EncodedUpdate third = Next({0.25F, 0, 0, 9}, second);
  EXPECT_THAT(Sent(third), ParamsNear({1, 0, 0}, 0));
  EXPECT_THAT(third.residual->values, ParamsNear({0.125F, -0.5F, 0.375F, 0}, 0));
  EXPECT_THAT(third.residual->momentum, ParamsNear({0, 0, 0.125F, 0}, 0));
}

TEST_F(MomentumCorrectionTest, CountsByTheExamplesOfTheUpdateThatLeftIt) {
  const EncodedUpdate first = Next({0.25F, 0, 0, 0}, {}, 20);
  EXPECT_THAT(Next({0, 0, 0, 0}, first, 10).residual->momentum, ParamsNear({0.25F, 0, 0, 0}, 0));
  EXPECT_THAT(Next({0, 0, 0, 0}, first, 10).residual->values, ParamsNear({0.75F, 0, 0, 0}, 0));
}

TEST_F(MomentumCorrectionTest, PrunedCoordinatesHaveNone) {
  const EncodedUpdate first = Next({0.5F, 0.5F, 0, 0}, {});
  const Mask mask({true, false, true});
  context_.mask = &mask;
  EXPECT_THAT(Next({0, 0, 0, 0}, first).residual->momentum, ParamsNear({0.25F, 0, 0, 0}, 0));
}

TEST_F(MomentumCorrectionTest, IsDroppedWhereItWouldOverflow) {
  const float most = std::nextafter(2 * kValueLimit, 0.0F);
  EncodedUpdate before;
  before.residual = Residual{.values = MakeParams(layout_, {0.5F, 0, 0, 0}),
                             .weight = 100,
                             .momentum = MakeParams(layout_, {most, 0, 0, 0})};
  const EncodedUpdate update = Next({0.25F, 0, 0, 0}, before, 100);
  EXPECT_THAT(Sent(update), ParamsNear({most / 2, 0, 0}, most / 1000)) << "half of it is allowed";
  EXPECT_THAT(Sent(Next({0.25F, 0, 0, 0}, before, 10)), ParamsNear({5, 0, 0}, 0))
      << "of the residual ten times as much is";
}

TEST_F(MomentumCorrectionTest, WithoutItNoneIsKeptAndNoneIsUsed) {
  const EncodedUpdate first = Next({0.5F, 0, 0, 0}, {});
  const EncodedUpdate off = Encode({0.25F, 0, 0, 0}, 10, first.residual);
  EXPECT_THAT(off.residual->values, ParamsNear({0.75F, 0, 0, 0}, 0));
  EXPECT_TRUE(off.residual->momentum.empty());
}

// Σ w_t·decoded_t + w_T·e_T = Σ w_t·delta_t, for every codec there is.
class TelescopingTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TelescopingTest, NothingIsMissingFromTheSumButTheLastResidual) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto codec,
                            CreateCodec({{.name = GetParam()}}, /*error_feedback=*/true));
  const LayoutPtr layout = FlatLayout(400, 3);
  for (const ErrorFeedback feedback : {ErrorFeedback::kEven, ErrorFeedback::kByExamples}) {
    std::vector<double> sent(400), wanted(400);
    std::optional<Residual> residual;
    Rng rng(5);
    double scale = 0;
    for (uint64_t t = 1; t <= 30; ++t) {
      const int64_t examples = 1 + rng.UniformInt(100);
      const CodecContext context{.layout = layout, .rng = Rng(t)};
      const ParamVector delta = RandomParams(layout, t, 0.01F);
      TRIB_ASSERT_OK_AND_ASSIGN(EncodedUpdate update,
                                EncodeWithFeedback(*codec, feedback, delta.Clone(), examples,
                                                   residual ? &*residual : nullptr, context));
      const double weight = feedback == ErrorFeedback::kEven ? 1 : static_cast<double>(examples);
      const std::vector<float> decoded = Decoded(*codec, update, context);
      for (size_t i = 0; i < 400; ++i) {
        sent[i] += weight * decoded[i];
        wanted[i] += weight * delta.trainable()[i];
        scale = std::max(scale, std::abs(weight * decoded[i]));
      }
      ASSERT_NE(update.residual, std::nullopt);
      residual = std::move(update.residual);
    }
    for (size_t i = 0; i < 400; ++i) {
      const double left = static_cast<double>(residual->weight) * residual->values.trainable()[i];
      ASSERT_NEAR(sent[i] + left, wanted[i], 30 * 1e-6 * scale) << "coordinate " << i;
    }
  }
}

std::vector<std::string> AllCodecs() {
  std::vector<std::string> names;
  for (const auto& entry : CodecRegistry().entries()) names.push_back(entry.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Codecs, TelescopingTest, ::testing::ValuesIn(AllCodecs()),
                         [](const auto& codec) { return codec.param; });

}  // namespace
}  // namespace tributary
