#include "common/params/param_layout.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::StatusIs;
using test::TinyLayout;
using ::testing::HasSubstr;
using ::testing::IsNull;
using Tensor = ParamLayout::Tensor;
constexpr TensorKind kBuffer = TensorKind::kBuffer;

TEST(ParamLayoutTest, TrainableTensorsComeFirstInTheirOrder) {
  const LayoutPtr layout = test::MakeLayout({{.name = "mean", .shape = {3}, .kind = kBuffer},
                                             {.name = "w", .shape = {2, 5}},
                                             {.name = "count", .kind = kBuffer},
                                             {.name = "b", .shape = {5}}});
  std::vector<std::string> order;
  std::vector<int64_t> offsets;
  for (const Tensor& t : layout->tensors()) {
    order.push_back(t.name);
    offsets.push_back(t.offset);
  }
  EXPECT_THAT(order, ::testing::ElementsAre("w", "b", "mean", "count"));
  EXPECT_THAT(offsets, ::testing::ElementsAre(0, 10, 15, 18));
  EXPECT_EQ(layout->size(), 19);
  EXPECT_EQ(layout->trainable_size(), 15);
  EXPECT_EQ(layout->buffer_size(), 4);
}

TEST(ParamLayoutTest, FindsTensorsByName) {
  const LayoutPtr layout = TinyLayout();
  for (const Tensor& t : layout->tensors()) EXPECT_EQ(layout->Find(t.name), &t);
  for (const char* name : {"", "a", "fc", "fc.weight2", "zz"}) {
    EXPECT_THAT(layout->Find(name), IsNull());
  }
}

struct BadLayout {
  std::vector<Tensor> tensors;
  std::string message;
};

TEST(ParamLayoutTest, RefusesWhatIsNoLayout) {
  const int64_t huge = int64_t{1} << 39;
  const BadLayout cases[] = {
      {{}, "at least one tensor"},
      {{{.name = "", .shape = {1}}}, "empty name"},
      {{{.name = "a", .shape = {1}}, {.name = "b"}, {.name = "a"}}, "'a': the name is repeated"},
      {{{.name = "a", .shape = {1}}, {.name = "a", .kind = kBuffer}}, "'a': the name is repeated"},
      {{{.name = "w", .shape = {2, -1}}}, "'w': a dimension must be at least 0, found -1"},
      {{{.name = "w", .shape = {huge, 3}}}, "'w': more than 1099511627776 elements"},
      {{{.name = "w", .shape = {std::numeric_limits<int64_t>::max(), 2, 2}}}, "more than"},
      {{{.name = "w", .shape = {huge}}, {.name = "v", .shape = {huge}}, {.name = "u"}},
       "'u': with"},
      {{{.name = "\xff\xfe", .shape = {1}}}, "'\\xff\\xfe': the name is not UTF-8"},
      {{{.name = "__metadata__", .shape = {1}}}, "reserved"},
  };
  for (const BadLayout& bad : cases) {
    EXPECT_THAT(ParamLayout::Create(bad.tensors),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)));
  }
}

TEST(ParamLayoutTest, AnEmptyDimensionMakesAnEmptyTensorHoweverLargeTheOthers) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(test::MakeLayout({{.name = "w", .shape = {most, 0, most}}})->size(), 0);
}

TEST(ParamLayoutTest, TheDigestIsOfTheDocumentedBytes) {
  const LayoutPtr layout = test::MakeLayout(
      {{.name = "w", .shape = {2, 258}}, {.name = "n", .shape = {}, .kind = kBuffer}});
  std::string bytes = "tributary.layout.v1";
  const auto append = [&bytes](absl::string_view b) { bytes.append(b.data(), b.size()); };
  append({"\x02\0\0\0\0\0\0\0", 8});  // tensors
  append({"\0", 1});                  // trainable
  append({"\x01\0\0\0\0\0\0\0w", 9});
  append({"\x02\0\0\0\0\0\0\0", 8});  // rank
  append({"\x02\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0", 16});
  append({"\x01", 1});  // buffer
  append({"\x01\0\0\0\0\0\0\0n", 9});
  append({"\0\0\0\0\0\0\0\0", 8});
  EXPECT_EQ(layout->digest(), Sha256::Of(bytes));
}

TEST(ParamLayoutTest, TheDigestTellsKindsNamesShapesAndOrderApart) {
  const std::vector<std::vector<Tensor>> different = {
      {{.name = "a", .shape = {2}}, {.name = "b", .shape = {3}}},
      {{.name = "b", .shape = {3}}, {.name = "a", .shape = {2}}},
      {{.name = "a", .shape = {2}}, {.name = "b", .shape = {3}, .kind = kBuffer}},
      {{.name = "a", .shape = {2}}, {.name = "b", .shape = {3, 1}}},
      {{.name = "a", .shape = {2}}, {.name = "c", .shape = {3}}},
      {{.name = "a", .shape = {2}}},
  };
  std::vector<Digest> digests;
  for (const auto& tensors : different) {
    const Digest digest = test::MakeLayout(tensors)->digest();
    EXPECT_THAT(digests, ::testing::Not(::testing::Contains(digest)));
    EXPECT_EQ(test::MakeLayout(tensors)->digest(), digest);
    digests.push_back(digest);
  }
}

TEST(ParamLayoutTest, JsonRoundTrips) {
  const LayoutPtr layout = test::MakeLayout({{.name = "w \"é\\", .shape = {2, 0, 5}},
                                             {.name = "s", .shape = {}},
                                             {.name = "m", .shape = {4}, .kind = kBuffer}});
  TRIB_ASSERT_OK_AND_ASSIGN(const LayoutPtr copy, ParamLayout::FromJson(layout->ToJson()));
  EXPECT_EQ(copy->digest(), layout->digest());
  EXPECT_EQ(copy->size(), layout->size());
  EXPECT_EQ(copy->trainable_size(), layout->trainable_size());
}

TEST(ParamLayoutTest, JsonGolden) {
  EXPECT_EQ(TinyLayout()->ToJson(),
            R"({"layout":1,"tensors":[{"name":"fc.weight","shape":[2,3]},)"
            R"({"name":"fc.bias","shape":[2]},{"buffer":true,"name":"bn.mean","shape":[2]}]})");
}

TEST(ParamLayoutTest, RefusesOtherJson) {
  for (const char* text :
       {"", "[]", "{}", "{\"layout\":2,\"tensors\":[]}", R"({"layout":1})",
        R"({"layout":1,"tensors":{}})", R"({"layout":1,"tensors":[]})",
        R"({"layout":1,"tensors":[1]})", R"({"layout":1,"tensors":[{"shape":[1]}]})",
        R"({"layout":1,"tensors":[{"name":1,"shape":[1]}]})",
        R"({"layout":1,"tensors":[{"name":"w"}]})",
        R"({"layout":1,"tensors":[{"name":"w","shape":[1.5]}]})",
        R"({"layout":1,"tensors":[{"name":"w","shape":[-1]}]})",
        R"({"layout":1,"tensors":[{"name":"w","shape":[18446744073709551615]}]})",
        R"({"layout":1,"tensors":[{"name":"w","shape":[1],"buffer":1}]})",
        R"({"layout":1,"tensors":[{"name":"w","shape":[1]}])"}) {
    EXPECT_THAT(ParamLayout::FromJson(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

}  // namespace
}  // namespace tributary
