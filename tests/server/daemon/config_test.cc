#include "server/config.h"

#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<ServerConfig> Read(const std::string& text) {
  const TempDir dir;
  return ReadServerConfig(dir.Write("tributaryd.yaml", text));
}

TEST(ServerConfigTest, TheLeastIsADataDirectory) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ServerConfig config, Read("data_dir: /var/lib/tributary\n"));
  EXPECT_EQ(config.data_dir, "/var/lib/tributary");
  EXPECT_EQ(config.listen, "127.0.0.1:7433");
  EXPECT_EQ(config.limits.max_chunk_bytes, 1 << 20);
  EXPECT_FALSE(config.tls);
}

TEST(ServerConfigTest, EverySectionIsRead) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ServerConfig config, Read(R"(
listen: 0.0.0.0:8443
data_dir: /data
tls: {certificate: s.pem, key: s.key, client_ca: ca.pem, operators: [alice, bob]}
http: {listen: "[::1]:9000"}
log: {level: debug, format: json}
limits:
  max_chunk_bytes: 65536
  in_flight_bytes: 131072
  in_flight_bytes_per_client: 65536
  bdp_window: true
  spool_bytes: 4000
  spool_bytes_per_job: 3000
  spool_bytes_per_client: 2000
  min_free_bytes: 2097152
check_in: {max_wait_seconds: 5, grace_seconds: 10, retry_min_seconds: 1, retry_max_seconds: 2}
worker_threads: 2
aggregation_threads: 3
shutdown_seconds: 3
)"));
  EXPECT_EQ(config.tls->operators.size(), 2u);
  EXPECT_EQ(config.http.listen, "[::1]:9000");
  EXPECT_EQ(config.log.format, "json");
  EXPECT_EQ(config.limits.in_flight_bytes, 131072);
  EXPECT_TRUE(config.limits.bdp_window);
  EXPECT_EQ(config.limits.spool_bytes, 4000);
  EXPECT_EQ(config.limits.spool_bytes_per_job, 3000);
  EXPECT_EQ(config.limits.spool_bytes_per_client, 2000);
  EXPECT_EQ(config.limits.min_free_bytes, 2 << 20);
  EXPECT_EQ(config.check_in.grace_seconds, absl::Seconds(10));
  EXPECT_EQ(config.aggregation_threads, 3);
  EXPECT_EQ(config.shutdown_seconds, absl::Seconds(3));
}

TEST(ServerConfigTest, AListenerForOthersNeedsTls) {
  for (const char* listen : {"0.0.0.0:7433", "192.168.1.5:7433", "\"[::]:7433\"", "example.org:1",
                             "127.evil.example:7433"}) {
    EXPECT_THAT(
        Read(absl::StrCat("data_dir: /d\nlisten: ", listen, "\n")),
        StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("listen"), HasSubstr("tls"))))
        << listen;
  }
  for (const char* listen : {"127.0.0.1:7433", "127.8.8.8:0", "\"[::1]:7433\"", "localhost:1"}) {
    EXPECT_THAT(Read(absl::StrCat("data_dir: /d\nlisten: ", listen, "\n")), IsOk()) << listen;
  }
}

struct Wrong {
  const char* name;
  const char* text;
  const char* names;  // what the message must name
};
class WrongConfigTest : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongConfigTest, IsRefusedWithTheFieldNamed) {
  EXPECT_THAT(Read(GetParam().text),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().names)));
}

INSTANTIATE_TEST_SUITE_P(
    Files, WrongConfigTest,
    ::testing::Values(
        Wrong{"nothing", "listen: 127.0.0.1:1\n", "data_dir"},
        Wrong{"empty_data_dir", "data_dir: ''\n", "data_dir"},
        Wrong{"misspelt", "data_dir: /d\nlissten: 127.0.0.1:1\n", "did you mean 'listen'"},
        Wrong{"no_port", "data_dir: /d\nlisten: localhost\n", "host:port"},
        Wrong{"port_too_large", "data_dir: /d\nlisten: localhost:65536\n", "65535"},
        Wrong{"bare_ipv6", "data_dir: /d\nlisten: '::1:80'\n", "[IPv6]"},
        Wrong{"http", "data_dir: /d\nhttp: {listen: nowhere}\n", "http.listen"},
        Wrong{"half_tls", "data_dir: /d\ntls: {certificate: a.pem}\n", "tls.key"},
        Wrong{"level", "data_dir: /d\nlog: {level: loud}\n", "log.level"},
        Wrong{"chunk", "data_dir: /d\nlimits: {max_chunk_bytes: 12}\n", "limits.max_chunk_bytes"},
        Wrong{"min_free", "data_dir: /d\nlimits: {min_free_bytes: 0}\n", "limits.min_free_bytes"},
        Wrong{"chunk_over_budget", "data_dir: /d\nlimits: {in_flight_bytes: 2048}\n",
              "in_flight_bytes"},
        Wrong{"windows", "data_dir: /d\ncheck_in: {retry_min_seconds: 5}\n", "retry_min_seconds"},
        Wrong{"threads", "data_dir: /d\nworker_threads: 0\n", "worker_threads"},
        Wrong{"no_aggregation_threads", "data_dir: /d\naggregation_threads: 0\n",
              "aggregation_threads"}),
    [](const auto& tested) { return tested.param.name; });

TEST(ServerConfigTest, AMissingFileIsNotFound) {
  EXPECT_THAT(ReadServerConfig("/nowhere/tributaryd.yaml"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ServerConfigTest, TheDevelopmentConfigIsValidAndLocal) {
  const ServerConfig config = DevConfig("/tmp/x");
  EXPECT_THAT(config.Validate(), IsOk());
  EXPECT_TRUE(IsLoopback(ParseAddress(config.listen)->host));
  EXPECT_TRUE(IsLoopback(ParseAddress(config.http.listen)->host));
}

}  // namespace
}  // namespace tributary::test
