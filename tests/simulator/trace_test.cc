#include "simulator/trace.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr TraceColumn kColumns[] = {{"from", /*zero_allowed=*/true}, {"to"}};

class TraceTest : public ::testing::Test {
 protected:
  absl::StatusOr<Trace> Read(const std::string& text, int64_t clients = 2) {
    return ReadTrace(dir_.Write("t.csv", text), kColumns, clients);
  }
  const test::TempDir dir_;
};

TEST_F(TraceTest, LinesByClientInAnyOrder) {
  EXPECT_THAT(Read("client,from,to\r\n1, 0, 2.5\r\n\r\n0,1,2\n1,3,4e2\n7,1,1\n"),
              IsOkAndHolds(ElementsAre(ElementsAre(ElementsAre(1, 2)),
                                       ElementsAre(ElementsAre(0, 2.5), ElementsAre(3, 400)))));
}

TEST_F(TraceTest, WithoutTheColumnTheLinesAreTheClients) {
  EXPECT_THAT(
      Read("from,to\n1,2\n3,4\n5,6"),
      IsOkAndHolds(ElementsAre(ElementsAre(ElementsAre(1, 2)), ElementsAre(ElementsAre(3, 4)))));
}

TEST_F(TraceTest, OneLineEach) {
  const std::string path = dir_.Write("t.csv", "client,from,to\n1,3,4\n0,1,2\n");
  EXPECT_THAT(ReadTraceByClient(path, kColumns, 2),
              IsOkAndHolds(ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4))));
  const std::string twice = dir_.Write("t.csv", "client,from,to\n0,1,2\n0,3,4\n");
  EXPECT_THAT(ReadTraceByClient(twice, kColumns, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("t.csv: 2 lines for client 0; allowed: one")));
}

TEST_F(TraceTest, SaysWhatIsWrongAndWhere) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "t.csv:1: found ''; allowed: the columns from,to or client,from,to"},
      {"to,from\n1,2\n", "t.csv:1: found 'to,from'; allowed: the columns"},
      {"from,to\n1\n", "t.csv:2: found '1'; allowed: a number for each of from,to"},
      {"from,to\n1,2,3\n", "t.csv:2: found '1,2,3'"},
      {"from,to\n1,2\n1,x\n", "t.csv:3: to: found 'x'; allowed: a number above 0"},
      {"from,to\n1,0\n", "t.csv:2: to: found '0'; allowed: a number above 0"},
      {"from,to\n-1,1\n", "t.csv:2: from: found '-1'; allowed: a number from 0"},
      {"from,to\nnan,1\n", "t.csv:2: from: found 'nan'"},
      {"from,to\n1,inf\n", "t.csv:2: to: found 'inf'"},
      {"client,from,to\n1.5,1,2\n", "t.csv:2: client: found '1.5'; allowed: an integer from 0"},
      {"client,from,to\n-1,1,2\n", "t.csv:2: client: found '-1'"},
      {"client,from,to\n0,1,2\n",
       "t.csv: no line for client 1; allowed: a line for each of the "
       "clients 0 to 1"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(Read(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
  EXPECT_THAT(ReadTrace(dir_.File("none.csv"), kColumns, 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.csv")));
}

}  // namespace
}  // namespace tributary
