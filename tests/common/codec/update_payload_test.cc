#include "common/codec/update_payload.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/codec/value_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::ParamsNear;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<config::Choice> Stages(const std::vector<std::string>& names) {
  std::vector<config::Choice> stages;
  for (const std::string& name : names) stages.push_back({.name = name});
  return stages;
}

std::unique_ptr<const Codec> MakeCodec(const std::vector<std::string>& names) {
  return CreateCodec(Stages(names)).value();
}

UpdateInfo GoodInfo() {
  return {.work_order = 3, .base_version = 2, .num_examples = 10, .local_steps = 5};
}

std::vector<float> ValuesOf(const DeltaPayload& delta, int64_t size) {
  std::vector<float> values(static_cast<size_t>(size));
  delta.AddTo(1.0F, {0, size}, absl::MakeSpan(values));
  return values;
}

TEST(EncodeUpdateTest, GoldenBytes) {
  const LayoutPtr layout = test::FlatLayout(2, 1);
  const CodecContext context{.layout = layout};
  const ParamVector delta = test::MakeParams(layout, {1.0F, -2.0F, 0.5F});
  EXPECT_EQ(EncodeUpdate(*MakeCodec({"raw"}), delta, context),
            std::string("\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f", 12));
  EXPECT_EQ(EncodeUpdate(*MakeCodec({"fp16"}), delta, context),
            std::string("\0\x3c\0\xc0\0\0\0\x3f", 8));
}

TEST(DecodeUpdateTest, GivesBackDeltaBuffersAndInfo) {
  for (const char* name : {"raw", "fp16"}) {
    const CodecContext context{.layout = test::TinyLayout()};
    const ParamVector sent =
        test::MakeParams(context.layout, {1, 2, 3, 4, 5, 6, 7, 8, 0.1F, -0.2F});
    const auto codec = MakeCodec({name});
    TRIB_ASSERT_OK_AND_ASSIGN(
        const Update update,
        DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, sent, context), context));
    EXPECT_THAT(ValuesOf(*update.delta, 8), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
    EXPECT_THAT(update.buffers, ElementsAre(0.1F, -0.2F));  // exact, whatever the codec
    EXPECT_EQ(update.info.work_order, 3);
    EXPECT_EQ(update.info.base_version, 2);
  }
}

TEST(DecodeUpdateTest, RefusesEveryOtherSize) {
  for (const char* name : {"raw", "fp16"}) {
    const CodecContext context{.layout = test::TinyLayout()};
    const auto codec = MakeCodec({name});
    const std::string good = EncodeUpdate(*codec, test::RandomParams(context.layout, 1), context);
    for (size_t size = 0; size < good.size() + 9; ++size) {
      std::string payload = good;
      payload.resize(size, '\xff');
      const auto update = DecodeUpdate(*codec, GoodInfo(), payload, context);
      if (size == good.size()) {
        ASSERT_THAT(update, IsOk());
      } else {
        ASSERT_THAT(update, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bytes")))
            << name << " " << size;
      }
    }
  }
}

TEST(DecodeUpdateTest, RefusesWhatIsNotFiniteAndNamesIt) {
  const CodecContext context{.layout = test::TinyLayout()};
  for (const char* name : {"raw", "fp16"}) {
    const auto codec = MakeCodec({name});
    for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
      ParamVector delta(context.layout);
      delta.View("fc.bias")[1] = bad;
      EXPECT_THAT(
          DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, delta, context), context),
          StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("tensor 'fc.bias': value 1 of 2 is")));
      delta.View("fc.bias")[1] = 0;
      delta.View("bn.mean")[1] = bad;
      EXPECT_THAT(
          DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, delta, context), context),
          StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("tensor 'bn.mean': value 1 of 2 is")));
    }
  }
}

TEST(DecodeUpdateTest, RefusesWhatCouldEndAJobByItsSize) {
  const CodecContext context{.layout = test::TinyLayout()};
  const float largest = std::nextafter(kValueLimit, 0.0F);
  for (const std::vector<std::string>& stages :
       std::vector<std::vector<std::string>>{{"raw"}, {"zstd"}}) {
    const auto codec = MakeCodec(stages);
    for (const char* tensor : {"fc.bias", "bn.mean"}) {
      ParamVector delta(context.layout);
      const auto decoded = [&](float value) {
        delta.View(tensor)[1] = value;
        return DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, delta, context), context);
      };
      for (const float value : {kValueLimit, -kValueLimit, std::numeric_limits<float>::max() / 2}) {
        EXPECT_THAT(decoded(value),
                    StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("which is no model's")));
      }
      EXPECT_THAT(decoded(-largest), IsOk());
    }
  }
}

// The first pass of the check adds up values that are all allowed to more than a float32 holds.
TEST(DecodeUpdateTest, ManyLargeValuesAreAllowed) {
  const CodecContext context{.layout = test::FlatLayout(100'000)};
  ParamVector delta(context.layout);
  std::ranges::fill(delta.values(), std::nextafter(kValueLimit, 0.0F));
  const auto codec = MakeCodec({"raw"});
  EXPECT_THAT(DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, delta, context), context),
              IsOk());
  delta.values()[99'999] = kValueLimit;
  EXPECT_THAT(DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, delta, context), context),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("value 99999 of 100000")));
}

// The verdict of an UpdateCheck that is shown the first `seen` bytes, in pieces of `piece`.
absl::Status Checked(const std::vector<std::string>& codec, const UpdateInfo& info,
                     const CodecContext& context, const std::string& payload, size_t seen,
                     size_t piece) {
  UpdateCheck check(MakeCodec(codec), info, context, payload.size());
  for (size_t at = 0; at < seen; at += piece) {
    check.Take(absl::string_view(payload).substr(at, std::min(piece, seen - at)));
  }
  return check.Finish(payload);
}

TEST(UpdateCheckTest, SaysWhatDecodeUpdateSaysWhateverItHasSeen) {
  const CodecContext context{.layout = test::TinyLayout()};
  for (const std::vector<std::string>& stages :
       std::vector<std::vector<std::string>>{{"raw"}, {"fp16"}, {"int8"}, {"zstd"}}) {
    const auto codec = MakeCodec(stages);
    const ParamVector finite = test::RandomParams(context.layout, 5);
    std::vector<std::string> payloads = {EncodeUpdate(*codec, finite, context)};
    for (const char* tensor : {"fc.bias", "bn.mean"}) {
      for (const float bad : {kNan, -std::numeric_limits<float>::infinity(), kValueLimit}) {
        ParamVector delta = finite.Clone();
        delta.View(tensor)[1] = bad;
        payloads.push_back(EncodeUpdate(*codec, delta, context));
      }
    }
    payloads.push_back(payloads[0] + "x");
    payloads.push_back(payloads[0].substr(1));
    payloads.push_back(payloads[0].substr(0, 3));
    payloads.emplace_back();
    for (const std::string& payload : payloads) {
      const absl::Status whole = DecodeUpdate(*codec, GoodInfo(), payload, context).status();
      for (const size_t seen : {size_t{0}, payload.size() / 2, payload.size()}) {
        for (const size_t piece : {1, 3, 5, 1000}) {
          EXPECT_EQ(Checked(stages, GoodInfo(), context, payload, seen, piece), whole)
              << stages[0] << ": " << seen << " of " << payload.size() << " by " << piece;
        }
      }
    }
  }
}

TEST(UpdateCheckTest, RefusesCountsBelowOne) {
  const CodecContext context{.layout = test::TinyLayout()};
  const std::string payload =
      EncodeUpdate(*MakeCodec({"raw"}), ParamVector(context.layout), context);
  UpdateInfo info = GoodInfo();
  info.local_steps = 0;
  EXPECT_THAT(Checked({"raw"}, info, context, payload, payload.size(), 8),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "local_steps: must be 1 to 1099511627776, found 0"));
}

// Bytes that were seen are not read again.
TEST(UpdateCheckTest, ARawPayloadIsJudgedWithoutBeingReadAgain) {
  const CodecContext context{.layout = test::TinyLayout()};
  const auto codec = MakeCodec({"raw"});
  const std::string payload = EncodeUpdate(*codec, ParamVector(context.layout), context);
  UpdateCheck check(MakeCodec({"raw"}), GoodInfo(), context, payload.size());
  check.Take(payload);
  EXPECT_THAT(check.Finish(std::string(payload.size(), '\xff')), IsOk());
}

TEST(DecodeUpdateTest, RefusesCountsBelowOne) {
  const CodecContext context{.layout = test::TinyLayout()};
  const auto codec = MakeCodec({"raw"});
  const std::string payload = EncodeUpdate(*codec, ParamVector(context.layout), context);
  UpdateInfo info = GoodInfo();
  info.num_examples = 0;
  EXPECT_THAT(DecodeUpdate(*codec, info, payload, context),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "num_examples: must be 1 to 1099511627776, found 0"));
  info = GoodInfo();
  info.local_steps = -4;
  EXPECT_THAT(DecodeUpdate(*codec, info, payload, context),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "local_steps: must be 1 to 1099511627776, found -4"));
}

TEST(DecodeUpdateTest, TakesALayoutWithoutTrainablesOrWithoutBuffers) {
  for (const auto& [trainable, buffers] : {std::pair{0, 3}, {3, 0}, {0, 0}}) {
    const CodecContext context{.layout = test::FlatLayout(trainable, buffers)};
    const auto codec = MakeCodec({"fp16"});
    EXPECT_THAT(DecodeUpdate(*codec, GoodInfo(),
                             EncodeUpdate(*codec, ParamVector(context.layout), context), context),
                IsOk());
  }
}

TEST(DecodeUpdateTest, RawKeepsEveryBit) {
  const CodecContext context{.layout = test::FlatLayout(1000, 10)};
  const auto codec = MakeCodec({"raw"});
  const ParamVector sent = test::RandomParams(context.layout, 4);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Update update,
      DecodeUpdate(*codec, GoodInfo(), EncodeUpdate(*codec, sent, context), context));
  EXPECT_THAT(ValuesOf(*update.delta, 1000), ParamsNear(sent.trainable(), 0));
}

}  // namespace
}  // namespace tributary
