#include "common/config/yaml.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::config {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

constexpr char kJob[] = R"(# a comment
job:
  name: 'x 1'
  stop: {versions: 10, seconds: 1.5}
  codec:
    - raw
    - topk: {fraction: 0.01}
  evaluate:
  seed: ~
)";

TEST(YamlTest, GivesValuesAndPositions) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Node root, ParseYaml(kJob, "job.yaml"));
  EXPECT_EQ(ToJson(root), nlohmann::json::parse(R"({"job": {
      "name": "x 1", "stop": {"versions": 10, "seconds": 1.5},
      "codec": ["raw", {"topk": {"fraction": 0.01}}], "evaluate": null, "seed": null}})"));
  EXPECT_EQ(root.position.ToString(), "job.yaml:2:1");
  const Node& job = *root.Find("job");
  EXPECT_EQ(root.members[0].position.ToString(), "job.yaml:2:1");
  EXPECT_EQ(job.position.ToString(), "job.yaml:3:3");
  EXPECT_EQ(job.Find("name")->position.ToString(), "job.yaml:3:9");
  EXPECT_TRUE(job.Find("name")->quoted);
  const Node& stop = *job.Find("stop");
  EXPECT_EQ(stop.position.ToString(), "job.yaml:4:9");
  EXPECT_EQ(stop.members[1].position.ToString(), "job.yaml:4:24");
  EXPECT_EQ(stop.members[1].value.position.ToString(), "job.yaml:4:33");
  EXPECT_FALSE(stop.members[1].value.quoted);
  const Node& codec = *job.Find("codec");
  EXPECT_EQ(codec.items[0].position.ToString(), "job.yaml:6:7");
  EXPECT_EQ(codec.items[1].members[0].position.ToString(), "job.yaml:7:7");
  EXPECT_EQ(job.Find("evaluate")->position.ToString(), "job.yaml:8:3");  // its key's
}

TEST(YamlTest, QuotesMakeText) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Node root, ParseYaml("[10, '10', \"true\", true, yes]", "f"));
  EXPECT_EQ(ToJson(root), nlohmann::json::parse(R"([10, "10", "true", true, "yes"])"));
}

TEST(YamlTest, AnEmptyTextIsNothing) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "\xEF\xBB\xBF"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const Node root, ParseYaml(text, "f"));
    EXPECT_EQ(root.kind, Node::Kind::kNull);
    EXPECT_THAT(root.position.ToString(), StartsWith("f:"));
  }
}

TEST(YamlTest, ReadsTextBeyondAscii) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Node root, ParseYaml("name: Zürich – 東京 🙂", "f"));
  EXPECT_EQ(root.Find("name")->scalar, "Zürich – 東京 🙂");
}

struct BadText {
  const char* text;
  const char* message;  // its beginning
};

class BadTextTest : public ::testing::TestWithParam<BadText> {};

TEST_P(BadTextTest, IsRefusedWithItsPosition) {
  EXPECT_THAT(ParseYaml(GetParam().text, "f"),
              StatusIs(Code::kInvalidArgument, StartsWith(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadTextTest,
    ::testing::Values(
        BadText{"a: 1\nb: 2\na: 3\n", "f:3:1: the key 'a' is given twice, first at line 1"},
        BadText{"x: {a: 1, a: 1}", "f:1:11: the key 'a' is given twice, first at line 1"},
        BadText{"a: &x 1", "f:1:4: anchors are not allowed, found &x"},
        BadText{"a: &x {b: 1}", "f:1:4: anchors are not allowed, found &x"},
        BadText{"a: *x", "f:1:4: "},
        BadText{"a: !!int 3", "f:1:4: tags are not allowed, found tag:yaml.org,2002:int"},
        BadText{"a: !thing {}", "f:1:4: tags are not allowed, found !thing"},
        BadText{"a: 1\n---\nb: 2\n", "f:2:1: a second document; allowed: one a file"},
        BadText{"a:\n\tb: 1\n", "f:2:1: a tab in the indentation; allowed: spaces"},
        BadText{"a:\n  \tb: 1\n", "f:2:3: a tab in the indentation; allowed: spaces"},
        BadText{"a: [1, 2", "f:1:1: not valid YAML: "},
        BadText{"a: b: c", "f:1:5: not valid YAML: "},
        BadText{"a: 1\n b: 2\n", "f:2:3: not valid YAML: "},
        BadText{"a: 'open", "f:1:9: not valid YAML: "},
        BadText{"? [1, 2]\n: x", "f:1:3: a key must be text, found a list"},
        BadText{"~: x", "f:1:1: a key must be text, found nothing"},
        BadText{"a: \xff", "f:1:4: not UTF-8 text"},
        BadText{"a: \xC0\xAF", "f:1:4: not UTF-8 text"},          // overlong '/'
        BadText{"a: \xED\xA0\x80", "f:1:4: not UTF-8 text"},      // a surrogate
        BadText{"a: \xF4\x90\x80\x80", "f:1:4: not UTF-8 text"},  // above U+10FFFF
        BadText{"a: \xE2\x82", "f:1:4: not UTF-8 text"},          // cut off
        BadText{"ok: 1\na: \x01", "f:2:4: a control character, code 1"}));

TEST(YamlTest, ZeroBytesAreRefused) {
  EXPECT_THAT(ParseYaml(absl::string_view("a: \0b", 5), "f"),
              StatusIs(Code::kInvalidArgument, "f:1:4: a control character, code 0"));
}

TEST(YamlTest, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_THAT(ParseYaml(nested(kMaxDepth), "f"), IsOk());
  EXPECT_THAT(ParseYaml(nested(kMaxDepth + 1), "f"),
              StatusIs(Code::kInvalidArgument, StartsWith("f:1:65: too deep")));
  EXPECT_THAT(ParseYaml(nested(5'000), "f"), StatusIs(Code::kInvalidArgument));
  std::string block;
  for (size_t i = 0; i < 200; ++i) absl::StrAppend(&block, std::string(i, ' '), "a:\n");
  EXPECT_THAT(ParseYaml(block, "f"), StatusIs(Code::kInvalidArgument, HasSubstr("too deep")));
}

TEST(YamlTest, SizeIsBounded) {
  const std::string huge(16 * 1024 * 1024 + 1, ' ');
  EXPECT_THAT(ParseYaml(huge, "f"),
              StatusIs(Code::kInvalidArgument, "f: too large; allowed: at most 16777216 bytes"));
}

// Whatever the bytes: an answer, never a crash or a hang.
TEST(YamlTest, SurvivesMutations) {
  Rng rng(7);
  const std::string alphabet = "{}[]:,-?&*!|>'\"%@`#~ \n\t\\ab1.\xc3\xa9";
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = kJob;
    for (int64_t edits = 1 + rng.UniformInt(8); edits > 0; --edits) {
      const auto at = static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(text.size())));
      const char c =
          alphabet[static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(alphabet.size())))];
      if (rng.Bernoulli(0.5)) {
        text[at] = c;
      } else {
        text.insert(at, 1, c);
      }
    }
    const absl::StatusOr<Node> node = ParseYaml(text, "f");
    if (node.ok()) continue;
    ++refused;
    ASSERT_THAT(node, StatusIs(Code::kInvalidArgument, StartsWith("f:"))) << text;
  }
  EXPECT_GT(refused, 100);
}

TEST(ReadYamlFileTest, ReadsAndNamesTheFile) {
  const test::TempDir dir;
  const std::string path = dir.Write("job.yaml", "a: [1\n");
  EXPECT_THAT(ReadYamlFile(path), StatusIs(Code::kInvalidArgument, StartsWith(path + ":")));
  TRIB_ASSERT_OK_AND_ASSIGN(const Node root, ReadYamlFile(dir.Write("ok.yaml", "a: 1\n")));
  EXPECT_EQ(ToJson(root)["a"], 1);
}

TEST(ReadYamlFileTest, TellsMissingFromUnreadable) {
  const test::TempDir dir;
  EXPECT_THAT(ReadYamlFile(dir.File("none.yaml")),
              StatusIs(Code::kNotFound, HasSubstr("none.yaml: cannot be opened")));
  EXPECT_THAT(ReadYamlFile(dir.path()), StatusIs(Code::kFailedPrecondition));
  const std::string huge = dir.Write("huge.yaml", std::string(16 * 1024 * 1024 + 1, '\n'));
  EXPECT_THAT(ReadYamlFile(huge), StatusIs(Code::kInvalidArgument, HasSubstr("too large")));
}

TEST(PositionAtTest, TheValueOrWhatIsAroundIt) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Node root,
                            ParseYaml("job:\n  name: x\n  stop: {versions: 3}\n", "a.yaml"));
  EXPECT_EQ(PositionAt(root, "job.stop.versions").ToString(), "a.yaml:3:20");
  EXPECT_EQ(PositionAt(root, "job.stop.updates").ToString(), "a.yaml:3:9");
  EXPECT_EQ(PositionAt(root, "job.name.x.y").ToString(), "a.yaml:2:9");
  EXPECT_EQ(PositionAt(root, "simulation.data").ToString(), "a.yaml:1:1");
  EXPECT_EQ(PositionAt(NodeFromJson({{"a", 1}}), "a").ToString(), "");
}

}  // namespace
}  // namespace tributary::config
