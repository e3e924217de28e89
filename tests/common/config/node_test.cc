#include "common/config/node.h"

#include <limits>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

Node Plain(std::string text) {
  Node node;
  node.kind = Node::Kind::kScalar;
  node.scalar = std::move(text);
  return node;
}

Node Quoted(std::string text) {
  Node node = Plain(std::move(text));
  node.quoted = true;
  return node;
}

TEST(PositionTest, ShowsWhatIsKnown) {
  const auto file = std::make_shared<const std::string>("job.yaml");
  EXPECT_EQ((Position{file, 12, 5}).ToString(), "job.yaml:12:5");
  EXPECT_EQ((Position{file}).ToString(), "job.yaml");
  EXPECT_EQ((Position{nullptr, 12, 5}).ToString(), "");
}

TEST(NodeTest, IntegersAreExact) {
  EXPECT_EQ(Plain("1000").AsInt(), 1000);
  EXPECT_EQ(Plain("-7").AsInt(), -7);
  EXPECT_EQ(Plain("+7").AsInt(), 7);
  EXPECT_EQ(Plain("9223372036854775807").AsInt(), std::numeric_limits<int64_t>::max());
  for (const char* text : {"", "1.5", "1.0", "1e3", "1_000", "0x10", "9223372036854775808", " 1",
                           "1 ", "--1", "ten", "true"}) {
    EXPECT_EQ(Plain(text).AsInt(), std::nullopt) << text;
  }
  EXPECT_EQ(Quoted("1000").AsInt(), std::nullopt);
}

TEST(NodeTest, DoublesAreFinite) {
  EXPECT_EQ(Plain("1.5").AsDouble(), 1.5);
  EXPECT_EQ(Plain("-.5").AsDouble(), -0.5);
  EXPECT_EQ(Plain("2.").AsDouble(), 2.0);
  EXPECT_EQ(Plain("+1E-8").AsDouble(), 1e-8);
  EXPECT_EQ(Plain("7").AsDouble(), 7.0);
  for (const char* text : {"", ".", "-", "e5", "1e", "1e+", ".inf", ".nan", "inf", "nan", "1e999",
                           "-1e999", "0x1p3", "1,5", "1.5f", "1.2.3"}) {
    EXPECT_EQ(Plain(text).AsDouble(), std::nullopt) << text;
  }
  EXPECT_EQ(Quoted("1.5").AsDouble(), std::nullopt);
}

TEST(NodeTest, BooleansFollowYaml12) {
  for (const char* text : {"true", "True", "TRUE"}) EXPECT_EQ(Plain(text).AsBool(), true);
  for (const char* text : {"false", "False", "FALSE"}) EXPECT_EQ(Plain(text).AsBool(), false);
  for (const char* text : {"yes", "no", "on", "off", "tRUE", "1", ""}) {
    EXPECT_EQ(Plain(text).AsBool(), std::nullopt) << text;
  }
  EXPECT_EQ(Quoted("true").AsBool(), std::nullopt);
}

TEST(NodeTest, ShownTellsKindsApart) {
  EXPECT_EQ(Plain("1.5").Shown(), "1.5");
  EXPECT_EQ(Plain("true").Shown(), "true");
  EXPECT_EQ(Plain("ten").Shown(), "'ten'");
  EXPECT_EQ(Quoted("10").Shown(), "\"10\"");
  EXPECT_EQ(Node().Shown(), "nothing");
  EXPECT_EQ(NodeFromJson({{"a", 1}}).Shown(), "a mapping");
  EXPECT_EQ(NodeFromJson({1}).Shown(), "a list");
}

TEST(NodeTest, ShownIsOneShortLine) {
  EXPECT_EQ(Quoted("a\nb").Shown(), "\"a\\nb\"");
  const std::string shown = Plain(std::string(59, 'x') + "éé" + std::string(1000, 'y')).Shown();
  EXPECT_EQ(shown, absl::StrCat("'", std::string(59, 'x'), "…'"));  // never half a character
}

TEST(JsonTest, RoundTrips) {
  const nlohmann::json json = nlohmann::json::parse(
      R"({"a": [1, -2.5, 1e-08, true, null, "10", "true"], "b": {"c": 9007199254740993}, "d": []})");
  EXPECT_EQ(
      ToJson(NodeFromJson(json)),
      nlohmann::json::parse(
          R"({"a": [1, -2.5, 1e-08, true, null, "10", "true"], "b": {"c": 9007199254740993}, "d": []})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const Node from_text, NodeFromJsonText(json.dump()));
  EXPECT_EQ(ToJson(from_text), json);
}

TEST(JsonTest, TextIsRefusedWithTheByte) {
  EXPECT_THAT(NodeFromJsonText("{\"a\": 1,}"),
              StatusIs(Code::kInvalidArgument, "not valid JSON at byte 9"));
  EXPECT_THAT(NodeFromJsonText(""), StatusIs(Code::kInvalidArgument, HasSubstr("not valid JSON")));
  EXPECT_THAT(NodeFromJsonText("1 2"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(NodeFromJsonText("\"\xff\""), StatusIs(Code::kInvalidArgument));
}

TEST(JsonTest, RepeatedKeysAreRefused) {
  EXPECT_THAT(NodeFromJsonText(R"({"a": {"x": 1, "y": 2, "x": 3}})"),
              StatusIs(Code::kInvalidArgument, "the key 'x' is given twice"));
  EXPECT_THAT(NodeFromJsonText(R"([{"x": 1}, {"x": 1}])"), IsOk());
}

TEST(JsonTest, DepthIsBounded) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_THAT(NodeFromJsonText(nested(kMaxDepth)), IsOk());
  EXPECT_THAT(NodeFromJsonText(nested(kMaxDepth + 1)),
              StatusIs(Code::kInvalidArgument, HasSubstr("too deep")));
  EXPECT_THAT(NodeFromJsonText(std::string(1'000'000, '[')),
              StatusIs(Code::kInvalidArgument, HasSubstr("too deep")));
}

class SetPathTest : public ::testing::Test {
 protected:
  Node root_ = NodeFromJson(nlohmann::json::parse(
      R"({"job": {"name": "x", "codec": [{"topk": {"k": 1}}, "raw"], "stop": null}})"));
};

TEST_F(SetPathTest, ReplacesAValue) {
  ASSERT_THAT(SetPath(root_, "job.name", Plain("y")), IsOk());
  EXPECT_EQ(ToJson(root_)["job"]["name"], "y");
}

TEST_F(SetPathTest, WalksListsByIndex) {
  ASSERT_THAT(SetPath(root_, "job.codec.0.topk.k", Plain("5")), IsOk());
  ASSERT_THAT(SetPath(root_, "job.codec.1", Plain("fp16")), IsOk());
  EXPECT_EQ(ToJson(root_)["job"]["codec"],
            nlohmann::json::parse(R"([{"topk": {"k": 5}}, "fp16"])"));
}

TEST_F(SetPathTest, MakesMappingsOnTheWay) {
  ASSERT_THAT(SetPath(root_, "simulation.network.latency_ms", Plain("40")), IsOk());
  ASSERT_THAT(SetPath(root_, "job.stop.versions", Plain("3")), IsOk());
  EXPECT_EQ(ToJson(root_)["simulation"]["network"]["latency_ms"], 40);
  EXPECT_EQ(ToJson(root_)["job"]["stop"]["versions"], 3);
}

TEST_F(SetPathTest, RefusesWhatIsNotThere) {
  const nlohmann::json before = ToJson(root_);
  EXPECT_THAT(SetPath(root_, "job.name.first", Plain("1")),
              StatusIs(Code::kInvalidArgument,
                       "job.name.first: job.name is \"x\", not a mapping or a list"));
  EXPECT_THAT(SetPath(root_, "job.codec.2", Plain("1")),
              StatusIs(Code::kInvalidArgument, HasSubstr("no item '2' in a list of 2")));
  EXPECT_THAT(SetPath(root_, "job.codec.last", Plain("1")), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(SetPath(root_, "", Plain("1")), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(SetPath(root_, "job..name", Plain("1")), StatusIs(Code::kInvalidArgument));
  EXPECT_EQ(ToJson(root_), before);
}

TEST(ErrorsTest, JoinPositionPathAndMessage) {
  Errors errors;
  EXPECT_THAT(errors.ToStatus(), IsOk());
  errors.Add({std::make_shared<const std::string>("f"), 2, 3}, "job.name", "wrong");
  errors.Add({}, "job.name", "wrong");
  errors.Add({}, "", "wrong");
  EXPECT_THAT(errors.lines(), ElementsAre("f:2:3: job.name: wrong", "job.name: wrong", "wrong"));
  EXPECT_THAT(errors.ToStatus(),
              StatusIs(Code::kInvalidArgument, "f:2:3: job.name: wrong\njob.name: wrong\nwrong"));
}

TEST(ErrorsTest, CountTheRestOfAFlood) {
  Errors errors;
  for (int i = 0; i < 250; ++i) errors.Add({}, "", "wrong");
  EXPECT_EQ(errors.size(), 250u);
  EXPECT_THAT(errors.lines(), SizeIs(100));
  EXPECT_THAT(errors.ToStatus(),
              StatusIs(Code::kInvalidArgument, HasSubstr("\nand 150 more errors")));
}

TEST(SuggestTest, FindsTheNearest) {
  const std::vector<std::string> known = {"clients_per_round", "min_reports", "momentum", "sgd"};
  EXPECT_EQ(Suggest("clients_per_rounds", known), "; did you mean 'clients_per_round'?");
  EXPECT_EQ(Suggest("momemtum", known), "; did you mean 'momentum'?");  // replaced
  EXPECT_EQ(Suggest("momentmu", known), "; did you mean 'momentum'?");  // swapped
  EXPECT_EQ(Suggest("momntm", known), "; did you mean 'momentum'?");    // two missing
  EXPECT_EQ(Suggest("min-reports", known), "; did you mean 'min_reports'?");
  EXPECT_EQ(Suggest("minReports", known), "; did you mean 'min_reports'?");
  EXPECT_EQ(Suggest("SGD", known), "; did you mean 'sgd'?");
}

TEST(SuggestTest, StaysSilentWhenNothingIsNear) {
  EXPECT_EQ(Suggest("deadline", {"momentum", "sgd"}), "");
  EXPECT_EQ(Suggest("lr", {"lt"}), "");  // of two letters, one changed is half
  EXPECT_EQ(Suggest("adam", {"sgdm"}), "");
  EXPECT_EQ(Suggest("", {"a"}), "");
  EXPECT_EQ(Suggest(std::string(100'000, 'a'), {std::string(99'999, 'a')}), "");
}

TEST(SuggestTest, PrefersTheCloser) {
  EXPECT_EQ(Suggest("local_step", {"local_stems", "local_steps"}), "; did you mean 'local_steps'?");
}

}  // namespace
}  // namespace tributary::config
