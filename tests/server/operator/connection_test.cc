#include "server/operator/connection.h"

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/operator/doctor.h"

namespace tributary::op {
namespace {

using ::testing::HasSubstr;

TEST(ConnectionTest, OnlyThisMachineIsSpokenToWithoutTls) {
  SimulatedClock clock;
  EXPECT_TRUE(Connection::Create({.server = "localhost:7433"}, clock).ok());
  EXPECT_TRUE(Connection::Create({.server = "[::1]:7433"}, clock).ok());
  for (const char* server : {"10.0.0.1:7433", "localhost.example:7433", "127x.example:1"}) {
    EXPECT_EQ(Connection::Create({.server = server}, clock).status().code(),
              absl::StatusCode::kInvalidArgument)
        << server;
  }
  EXPECT_EQ(Connection::Create({.server = "far:1", .ca = "/no/such.pem"}, clock).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(DoctorTest, KnowsGoodAndBadBlas) {
  using Grade = Finding::Grade;
  EXPECT_EQ(JudgeBlas("/usr/lib/x/openblas-openmp/libblas.so.3").grade, Grade::kGood);
  for (const char* bad :
       {"/usr/lib/x/openblas-serial/libblas.so.3", "/usr/lib/x/openblas-pthread/libblas.so.3",
        "/usr/lib/x/blas/libblas.so.3"}) {
    EXPECT_EQ(JudgeBlas(bad).grade, Grade::kWarning) << bad;
    EXPECT_THAT(JudgeBlas(bad).detail, HasSubstr("libopenblas0-openmp"));
  }
}

}  // namespace
}  // namespace tributary::op
