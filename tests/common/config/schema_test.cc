#include "common/config/schema.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

struct Circle {
  double radius = 1.0;
  static void Describe(Fields<Circle>& fields) {
    fields.Add("radius", &Circle::radius, "in metres").GreaterThan(0);
  }
};

struct Label {
  std::string text;
  static void Describe(Fields<Label>& fields) {
    fields.Add("text", &Label::text, "what is written").Required();
  }
};

struct Range {
  int64_t low = 0;
  int64_t high = 10;
  static void Describe(Fields<Range>& fields) {
    fields.Add("low", &Range::low, "first");
    fields.Add("high", &Range::high, "last");
  }
  absl::Status Validate() const {
    if (low <= high) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("low ", low, " is above high ", high));
  }
};

std::vector<Alternative> Figures() {
  return {{"circle", "a round figure", &SchemaOf<Circle>()},
          {"label", "a written one", &SchemaOf<Label>()}};
}

struct All {
  bool flag = false;
  int64_t count = 3;
  double share = 0.5;
  double open = 0.5;
  std::string word = "plain";
  std::string colour = "red";
  std::string id = "x";
  absl::Duration wait_seconds = absl::Seconds(90);
  Range range;
  Choice figure;
  std::optional<int64_t> maybe;
  std::optional<Range> maybe_range;
  std::optional<std::vector<int64_t>> maybe_list;
  std::vector<int64_t> list = {1, 2};
  std::vector<std::optional<double>> holes;
  std::vector<Choice> figures;
  std::vector<Range> ranges;
  std::optional<Node> opaque;
  std::optional<Switch<Range>> maybe_on;
  Switch<Range> on;

  static void Describe(Fields<All>& fields) {
    fields.Add("flag", &All::flag, "a switch");
    fields.Add("count", &All::count, "how many").Min(1).Max(1000);
    fields.Add("share", &All::share, "a part").Min(0).Max(1);
    fields.Add("open", &All::open, "a part, both ends out").GreaterThan(0).LessThan(1);
    fields.Add("word", &All::word, "any text");
    fields.Add("colour", &All::colour, "a colour").OneOf({"red", "green"});
    fields.Add("id", &All::id, "a name").Id();
    fields.Add("wait_seconds", &All::wait_seconds, "patience");
    fields.Add("range", &All::range, "a section");
    fields.Add("figure", &All::figure, "a choice").Alternatives(Figures());
    fields.Add("maybe", &All::maybe, "an optional").Min(1);
    fields.Add("maybe_range", &All::maybe_range, "an optional section");
    fields.Add("maybe_list", &All::maybe_list, "an optional list");
    fields.Add("list", &All::list, "a list").Min(1).MinItems(1);
    fields.Add("holes", &All::holes, "a list of optionals");
    fields.Add("figures", &All::figures, "a list of choices").Alternatives(Figures());
    fields.Add("ranges", &All::ranges, "a list of sections");
    fields.Add("opaque", &All::opaque, "somebody else's");
    fields.Add("maybe_on", &All::maybe_on, "an optional switch");
    fields.Add("on", &All::on, "a switch with options");
  }
  All() { figure = {.name = "circle", .options = Print(Circle())}; }
};

absl::StatusOr<All> ParseAll(const std::string& json) {
  auto node = NodeFromJsonText(json);
  if (!node.ok()) return node.status();
  return Parse<All>(*node, "all");
}

std::string ErrorOf(const std::string& json) {
  return std::string(ParseAll(json).status().message());
}

TEST(SchemaTest, AnEmptyObjectHasTheDefaults) {
  for (const char* text : {"{}", "null"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const All all, ParseAll(text));
    EXPECT_EQ(all.count, 3);
    EXPECT_EQ(all.wait_seconds, absl::Seconds(90));
    EXPECT_EQ(all.list, (std::vector<int64_t>{1, 2}));
    EXPECT_EQ(all.maybe, std::nullopt);
    EXPECT_EQ(Print(all), SchemaOf<All>().Defaults());
  }
}

TEST(SchemaTest, EveryTypeRoundTrips) {
  const std::string text = R"({
    "flag": true, "count": 7, "share": 1, "open": 0.25, "word": "10", "colour": "green",
    "id": "a-b_c.1", "wait_seconds": 0.1, "range": {"low": 1, "high": 2},
    "figure": {"label": {"text": "hi"}}, "maybe": 5, "maybe_range": {"low": -1},
    "maybe_list": [4], "list": [9], "holes": [1.5, null],
    "figures": ["circle", {"circle": {"radius": 2}}], "ranges": [{}, {"high": 3}],
    "opaque": {"anything": [1, "two"]}, "maybe_on": {"low": -2}, "on": false})";
  TRIB_ASSERT_OK_AND_ASSIGN(const All all, ParseAll(text));
  EXPECT_TRUE(all.flag);
  EXPECT_EQ(all.share, 1.0);
  EXPECT_EQ(all.word, "10");
  EXPECT_EQ(all.wait_seconds, absl::Milliseconds(100));
  EXPECT_EQ(all.figure.name, "label");
  EXPECT_EQ(all.maybe_range->low, -1);
  EXPECT_EQ(all.holes, (std::vector<std::optional<double>>{1.5, std::nullopt}));
  EXPECT_EQ(all.figures[0].options, nlohmann::json({{"radius", 1.0}}));
  EXPECT_EQ(all.figures[1].options, nlohmann::json({{"radius", 2.0}}));
  EXPECT_EQ(all.ranges[1].high, 3);

  const nlohmann::json printed = Print(all);
  EXPECT_EQ(printed["opaque"], nlohmann::json::parse(R"({"anything": [1, "two"]})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const All again, ParseAll(printed.dump()));
  EXPECT_EQ(Print(again).dump(), printed.dump());
}

TEST(SchemaTest, DurationsPrintStably) {
  for (const char* seconds : {"0.1", "1e-9", "0.3333333333333333", "12345.678", "1e12"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const All all,
                              ParseAll(absl::StrCat("{\"wait_seconds\": ", seconds, "}")));
    const std::string once = Print(all).dump();
    TRIB_ASSERT_OK_AND_ASSIGN(const All again, ParseAll(once));
    EXPECT_EQ(Print(again).dump(), once) << seconds;
  }
}

TEST(SchemaTest, NullTakesAnOptionalAway) {
  TRIB_ASSERT_OK_AND_ASSIGN(const All all, ParseAll(R"({"maybe": null, "maybe_range": null})"));
  EXPECT_EQ(all.maybe, std::nullopt);
  EXPECT_FALSE(all.maybe_range.has_value());
  EXPECT_FALSE(Print(all).contains("maybe"));
}

struct BadValue {
  const char* json;
  const char* message;
};

class BadValueTest : public ::testing::TestWithParam<BadValue> {};

TEST_P(BadValueTest, IsRefused) { EXPECT_EQ(ErrorOf(GetParam().json), GetParam().message); }

INSTANTIATE_TEST_SUITE_P(
    All, BadValueTest,
    ::testing::Values(
        BadValue{R"({"flag": 1})", "all.flag: not a boolean, found 1; allowed: true or false"},
        BadValue{R"({"flag": "true"})",
                 "all.flag: not a boolean, found \"true\"; allowed: true or false"},
        BadValue{R"({"count": 0})",
                 "all.count: out of range, found 0; allowed: an integer from 1 to 1000"},
        BadValue{R"({"count": 1001})",
                 "all.count: out of range, found 1001; allowed: an integer from 1 to 1000"},
        BadValue{R"({"count": 1.5})",
                 "all.count: not an integer, found 1.5; allowed: an integer from 1 to 1000"},
        BadValue{R"({"count": 1e3})",
                 "all.count: not an integer, found 1e3; allowed: an integer from 1 to 1000"},
        BadValue{R"({"count": 99999999999999999999})",
                 "all.count: out of range, found 99999999999999999999; "
                 "allowed: an integer from 1 to 1000"},
        BadValue{R"({"count": null})",
                 "all.count: not an integer, found nothing; allowed: an integer from 1 to 1000"},
        BadValue{R"({"share": 1.5})",
                 "all.share: out of range, found 1.5; allowed: a number from 0 to 1"},
        BadValue{R"({"share": [0.5]})",
                 "all.share: not a finite number, found a list; allowed: a number from 0 to 1"},
        BadValue{R"({"open": 0})",
                 "all.open: out of range, found 0; allowed: a number above 0, below 1"},
        BadValue{R"({"open": 1})",
                 "all.open: out of range, found 1; allowed: a number above 0, below 1"},
        BadValue{R"({"word": 10})",
                 "all.word: not a string, found 10; allowed: a string (put it in quotes)"},
        BadValue{R"({"word": {}})", "all.word: not a string, found a mapping; allowed: a string"},
        BadValue{R"({"colour": "gren"})",
                 "all.colour: unknown name, found \"gren\"; allowed: one of red, green; "
                 "did you mean 'green'?"},
        BadValue{R"({"id": "my job"})",
                 "all.id: not a valid name, found \"my job\"; allowed: 1 to 128 letters, digits, "
                 "'.', '_' or '-', the first not '.'"},
        BadValue{R"({"wait_seconds": -1})",
                 "all.wait_seconds: out of range, found -1; allowed: a number of seconds from 0"},
        BadValue{R"({"wait_seconds": 1e300})",
                 "all.wait_seconds: out of range, found 1e300; "
                 "allowed: a number of seconds from 0"},
        BadValue{R"({"wait_seconds": "10s"})",
                 "all.wait_seconds: not a finite number, found \"10s\"; "
                 "allowed: a number of seconds from 0"},
        BadValue{R"({"range": 3})",
                 "all.range: not a mapping, found 3; allowed: a mapping with the keys low, high"},
        BadValue{R"({"range": {"low": 5, "high": 2}})", "all.range: low 5 is above high 2"},
        BadValue{R"({"maybe": 0})", "all.maybe: out of range, found 0; allowed: an integer from 1"},
        BadValue{R"({"list": 3})", "all.list: not a list, found 3; allowed: a list"},
        BadValue{R"({"list": []})", "all.list: too few items, found 0; allowed: at least 1"},
        BadValue{R"({"list": [1, 0]})",
                 "all.list[1]: out of range, found 0; allowed: an integer from 1"},
        BadValue{R"({"ranges": [{}, {"low": "a"}]})",
                 "all.ranges[1].low: not an integer, found \"a\"; allowed: an integer"},
        BadValue{R"({"opaque": [1]})",
                 "all.opaque: not a mapping, found a list; allowed: a mapping"},
        BadValue{R"({"figure": "circl"})",
                 "all.figure: unknown name, found \"circl\"; allowed: one of circle, label; "
                 "did you mean 'circle'?"},
        BadValue{R"({"figure": {"square": {}}})",
                 "all.figure: unknown name, found 'square'; allowed: one of circle, label"},
        BadValue{R"({"figure": {"circle": {}, "label": {}}})",
                 "all.figure: must be exactly one of circle, label; found circle and label"},
        BadValue{R"({"figure": {}})",
                 "all.figure: must be exactly one of circle, label; found an empty mapping"},
        BadValue{R"({"figure": null})",
                 "all.figure: must be exactly one of circle, label; found nothing"},
        BadValue{R"({"figure": ["circle"]})",
                 "all.figure: must be exactly one of circle, label; found a list"},
        BadValue{R"({"figure": {"circle": {"radius": 0}}})",
                 "all.figure.circle.radius: out of range, found 0; allowed: a number above 0"},
        BadValue{R"({"figures": ["label"]})",
                 "all.figures[0].label.text: required but missing; allowed: a string"},
        BadValue{R"({"coumt": 1})", "all.coumt: unknown key; did you mean 'count'?"},
        BadValue{R"({"range": {"middle": 1}})",
                 "all.range.middle: unknown key; allowed: the keys low, high"}));

TEST(SchemaTest, EveryErrorIsReportedInFileOrder) {
  const std::vector<std::string> lines = absl::StrSplit(
      ErrorOf(R"({"share": 2, "range": {"low": "x", "hgih": 1}, "count": 0, "colour": "blue"})"),
      '\n');
  EXPECT_THAT(lines, ElementsAre(HasSubstr("all.share:"), HasSubstr("all.range.low:"),
                                 HasSubstr("all.range.hgih:"), HasSubstr("all.count:"),
                                 HasSubstr("all.colour:")));
}

TEST(SchemaTest, ValidateWaitsForItsFields) {
  EXPECT_THAT(ErrorOf(R"({"range": {"low": 50, "high": "x"}})"), Not(HasSubstr("is above")));
}

struct Even {
  int64_t number = 1;  // odd: the default is not checked, only what is given
  static void Describe(Fields<Even>& fields) {
    fields.Add("number", &Even::number, "an even one").Check([](const Even& even) {
      if (even.number % 2 == 0) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat("not even, found ", even.number));
    });
  }
};

struct Brief {
  std::optional<int64_t> dozens;  // short for count
  int64_t count = 0;
  static void Describe(Fields<Brief>& fields) {
    fields.Add("dozens", &Brief::dozens, "twelve each");
    fields.Add("count", &Brief::count, "single ones");
  }
  void Expand() {
    if (dozens) count += 12 * *std::exchange(dozens, std::nullopt);
  }
  absl::Status Validate() const {
    if (count <= 24) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("too many: ", count));
  }
};

TEST(SchemaTest, WhatIsShortForSomethingIsWrittenOutAndThenValidated) {
  const auto brief = [](const char* json) {
    return Parse<Brief>(NodeFromJson(nlohmann::json::parse(json)), "b");
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const Brief two, brief(R"({"dozens": 2})"));
  EXPECT_EQ(Print(two), nlohmann::json({{"count", 24}}));
  EXPECT_THAT(brief(R"({"dozens": 2, "count": 1})"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too many: 25")));
  EXPECT_THAT(brief(R"({"dozens": "x", "count": 100})"),
              StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("too many"))));
}

TEST(SchemaTest, AFieldsOwnCheckSpeaksOfTheField) {
  const auto even = [](const char* json) {
    return Parse<Even>(NodeFromJson(nlohmann::json::parse(json)), "e");
  };
  EXPECT_THAT(even("{}"), IsOk());
  EXPECT_THAT(even(R"({"number": 4})"), IsOk());
  EXPECT_THAT(even(R"({"number": 3})"),
              StatusIs(Code::kInvalidArgument, "e.number: not even, found 3"));
}

TEST(SchemaTest, ErrorsCarryThePositionOfTheirNode) {
  const auto file = std::make_shared<const std::string>("f.yaml");
  Node node = NodeFromJson({{"low", 5}, {"high", 2}});
  node.position = {file, 3, 7};
  EXPECT_THAT(Parse<Range>(node, "r"),
              StatusIs(Code::kInvalidArgument, "f.yaml:3:7: r: low 5 is above high 2"));

  Node label = NodeFromJson(nlohmann::json::object());
  label.position = {file, 4, 1};
  EXPECT_THAT(Parse<Label>(label, "l"),
              StatusIs(Code::kInvalidArgument,
                       "f.yaml:4:1: l.text: required but missing; allowed: a string"));
}

TEST(SchemaTest, NumbersPrintShortestAndExact) {
  TRIB_ASSERT_OK_AND_ASSIGN(const All all,
                            ParseAll(R"({"share": 0.1, "open": 0.30000000000000004})"));
  EXPECT_EQ(Print(all)["share"].dump(), "0.1");
  EXPECT_EQ(Print(all)["open"].get<double>(), 0.1 + 0.2);
}

TEST(SchemaTest, JsonSchemaSaysWhatTheParserChecks) {
  const nlohmann::json schema = SchemaOf<All>().JsonSchema();
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_FALSE(schema.contains("required"));
  const nlohmann::json& properties = schema["properties"];
  EXPECT_EQ(properties["count"],
            nlohmann::json::parse(R"({"type": "integer", "minimum": 1, "maximum": 1000,
                                      "default": 3, "description": "how many"})"));
  EXPECT_EQ(properties["open"]["exclusiveMinimum"], 0);
  EXPECT_EQ(properties["open"]["exclusiveMaximum"], 1);
  EXPECT_EQ(properties["colour"]["enum"], nlohmann::json({"red", "green"}));
  EXPECT_EQ(properties["id"]["pattern"], "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$");
  EXPECT_EQ(properties["wait_seconds"]["minimum"], 0);
  EXPECT_EQ(properties["list"]["items"]["minimum"], 1);
  EXPECT_EQ(properties["list"]["minItems"], 1);
  EXPECT_EQ(properties["range"]["properties"]["low"]["type"], "integer");
  EXPECT_EQ(properties["opaque"]["type"], "object");
  EXPECT_FALSE(properties["maybe"].contains("default"));

  const nlohmann::json& forms = properties["figure"]["oneOf"];
  ASSERT_EQ(forms.size(), 3u);
  EXPECT_EQ(forms[0]["required"], nlohmann::json::array({"circle"}));
  EXPECT_EQ(forms[1]["properties"]["label"]["required"], nlohmann::json::array({"text"}));
  EXPECT_EQ(forms[2]["enum"], nlohmann::json::array({"circle"}));  // label needs its text
}

TEST(SchemaTest, ASwitchIsAWordOrOptions) {
  for (const char* text : {R"({"on": true})", R"({"on": {}})", R"({})"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const All all, ParseAll(text));
    EXPECT_TRUE(all.on.on);
    EXPECT_EQ(Print(all)["on"], true) << text;
    EXPECT_FALSE(Print(all).contains("maybe_on"));
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const All all, ParseAll(R"({"on": {"low": 1}, "maybe_on": false})"));
  EXPECT_TRUE(all.on.on);
  EXPECT_EQ(all.on.options.low, 1);
  EXPECT_EQ(Print(all)["on"]["low"], 1);
  EXPECT_EQ(Print(all)["maybe_on"], false);
  EXPECT_THAT(ErrorOf(R"({"on": 3})"),
              HasSubstr("all.on: neither a boolean nor a mapping, found 3; allowed: true, false or "
                        "a mapping"));
  EXPECT_THAT(ErrorOf(R"({"on": {"lo": 3}})"), HasSubstr("all.on.lo: unknown key"));
  const nlohmann::json schema = SchemaOf<All>().JsonSchema()["properties"]["on"];
  EXPECT_EQ(schema["default"], true);
  ASSERT_EQ(schema["oneOf"].size(), 2U);
  EXPECT_EQ(schema["oneOf"][0]["type"], "boolean");
  EXPECT_EQ(schema["oneOf"][1]["properties"]["low"]["type"], "integer");
  EXPECT_THAT(SchemaOf<All>().MarkdownTable(),
              HasSubstr("| `on` | true, false or a mapping | `true` | a switch with options |\n"));
}

TEST(SchemaTest, MarkdownHasARowForEachField) {
  const std::string table = SchemaOf<All>().MarkdownTable();
  EXPECT_THAT(table, HasSubstr("| `count` | an integer from 1 to 1000 | `3` | how many |\n"));
  EXPECT_THAT(table, HasSubstr("| `figure` | one of circle, label | `circle` | a choice |\n"));
  EXPECT_THAT(table, HasSubstr("| `maybe` | an integer from 1 | – | an optional |\n"));
  EXPECT_THAT(table, HasSubstr("| `range` | a mapping | its defaults | a section |\n"));
  EXPECT_THAT(table, HasSubstr("| `list` | a list of at least 1; each item: an integer from 1 | "
                               "`[1,2]` | a list |\n"));
  EXPECT_THAT(SchemaOf<Label>().MarkdownTable(),
              HasSubstr("| `text` | a string | required | what is written |\n"));
}

}  // namespace
}  // namespace tributary::config
