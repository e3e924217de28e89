#include "client_sdk/client_options.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

ClientOptions GoodOptions() {
  ClientOptions options;
  options.server = "localhost:7433";
  options.id = ClientId("device-17");
  return options;
}

TEST(ClientOptionsTest, DefaultsWithAServerAndAnIdAreValid) {
  EXPECT_THAT(Validate(GoodOptions()), IsOk());
}

TEST(ClientOptionsTest, MessagesNameTheFieldAndWhatIsAllowed) {
  struct Case {
    std::function<void(ClientOptions&)> edit;
    std::string field, rest;
  };
  const std::vector<Case> cases = {
      {[](auto& o) { o.server = ""; }, "server", "host:port"},
      {[](auto& o) { o.id = ClientId(""); }, "id is ''", "letters"},
      {[](auto& o) { o.id = ClientId("a/b"); }, "id is 'a/b'", "letters"},
      {[](auto& o) { o.id = ClientId(std::string(129, 'x')); }, "id", "1 to 128"},
      {[](auto& o) { o.server = "coordinator.example:7433"; }, "server", "allow_insecure"},
      {[](auto& o) { o.server = "127x.example:7433"; }, "server", "allow_insecure"},
      {[](auto& o) { o.ca_file = "ca.pem", o.cert_file = "c.pem"; }, "key_file", "both"},
      {[](auto& o) { o.ca_file = "ca.pem", o.key_file = "k.pem"; }, "cert_file", "both"},
      {[](auto& o) { o.cert_file = "c.pem", o.key_file = "k.pem"; }, "ca_file", "signed"},
      {[](auto& o) { o.max_wait = -absl::Seconds(1); }, "max_wait is '-1s'", "from 0"},
      {[](auto& o) { o.call_timeout = absl::ZeroDuration(); }, "call_timeout", "more than 0"},
      {[](auto& o) { o.retry.first_delay = absl::ZeroDuration(); }, "retry.first_delay", "more"},
      {[](auto& o) { o.retry.max_delay = -absl::Seconds(2); }, "retry.max_delay is '-2s'", "more"},
      {[](auto& o) { o.connect_limit = absl::ZeroDuration(); }, "connect_limit", "more than 0"},
      {[](auto& o) { o.idle_limit = absl::ZeroDuration(); }, "idle_limit", "more than 0"},
      {[](auto& o) { o.once_limit = absl::ZeroDuration(); }, "once_limit", "more than 0"},
      {[](auto& o) { o.cached_models = 0; }, "cached_models is '0'", "from 1"},
      {[](auto& o) { o.max_model_bytes = 0; }, "max_model_bytes is '0'", "from 1"},
  };
  for (const Case& c : cases) {
    ClientOptions options = GoodOptions();
    c.edit(options);
    EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            AllOf(HasSubstr(c.field), HasSubstr(c.rest))));
  }
}

TEST(ClientOptionsTest, WithoutTlsOnlyLoopbackIsSpokenTo) {
  for (const char* const loopback :
       {"localhost:1", "127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "unix:/tmp/socket"}) {
    ClientOptions options = GoodOptions();
    options.server = loopback;
    EXPECT_THAT(Validate(options), IsOk()) << loopback;
  }
  ClientOptions options = GoodOptions();
  for (const char* const other :
       {"10.0.0.1:1", "localhost.example:1", "[::2]:1", "127.0.0.1.example.org:1"}) {
    options.server = other;
    EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument)) << other;
  }
  options.allow_insecure = true;
  EXPECT_THAT(Validate(options), IsOk());
  options.allow_insecure = false;
  options.ca_file = "ca.pem";
  EXPECT_THAT(Validate(options), IsOk());
}

TEST(ClientOptionsTest, EveryEventHasAName) {
  for (int kind = 0; kind <= static_cast<int>(ClientEvent::Kind::kDisconnected); ++kind) {
    EXPECT_NE(ClientEventName(static_cast<ClientEvent::Kind>(kind)), "unknown");
  }
}

}  // namespace
}  // namespace tributary
