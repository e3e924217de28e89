// Who gets in: a coordinator with certificates, and callers with the right ones, with others', with
// old ones, with none. Real processes and real TLS.

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/client.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "common/cli/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificates.h"
#include "tests/testing/daemon.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Certificates;
using test::Daemon;
using test::Exit;
using test::IsOk;
using test::StatusIs;
using test::TempDir;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);

constexpr char kJob[] = R"(
job:
  name: secret
  model: {custom: fake}
  train: {local_steps: 1}
  scheduler: {sync_round: {clients_per_round: 2}}
  stop: {versions: 2}
)";

Exit ExitOf(cli::ExitCode code) { return {.code = static_cast<int>(code)}; }
const Exit kUnreachable = ExitOf(cli::ExitCode::kUnreachable);
const Exit kNotAllowed = ExitOf(cli::ExitCode::kNotAllowed);

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Certificates::Create(own_dir_.path(), {"server", "alice", "one", "two"});
    ASSERT_THAT(made, IsOk());
    own_ = std::make_unique<Certificates>(*std::move(made));
    auto others = Certificates::Create(others_dir_.path(), {"server", "alice", "one"});
    ASSERT_THAT(others, IsOk());
    others_ = std::make_unique<Certificates>(*std::move(others));
    StartServer(*own_);
  }

  // With its certificate from `authority`; it trusts callers that ours has signed.
  void StartServer(const Certificates& authority) {
    auto started = Daemon::Start(test::TlsSettings(authority, own_->ca(), "alice"));
    ASSERT_THAT(started, IsOk());
    server_ = *std::move(started);
  }

  test::Completed Tool(std::vector<std::string> tls, const std::vector<std::string>& args) const {
    tls.insert(tls.end(), args.begin(), args.end());
    return server_->Tool(tls);
  }
  static std::vector<std::string> As(const Certificates& from, const std::string& name) {
    return {"--ca", from.ca(), "--cert", from.CertificateOf(name), "--key", from.KeyOf(name)};
  }

  // Of client `id` with the certificate of `name` from our authority.
  ClientOptions Options(const std::string& id, const std::string& name) const {
    ClientOptions options;
    options.server = server_->address();
    options.id = ClientId(id);
    options.ca_file = own_->ca();
    options.cert_file = own_->CertificateOf(name);
    options.key_file = own_->KeyOf(name);
    options.retry = {.first_delay = absl::Milliseconds(20), .max_delay = absl::Milliseconds(100)};
    options.connect_limit = kPatience;
    options.once_limit = kPatience;
    return options;
  }
  // How a client ends that the server does not let in.
  static absl::Status Run(ClientOptions options) {
    auto client =
        Client::Create(std::move(options), std::make_unique<FakeTrainer>(test::FlatLayout(100, 2)));
    return client.ok() ? (*client)->Run() : client.status();
  }
  // The same where TLS keeps it out: to the client the server is as good as dead.
  static absl::Status RunShortly(ClientOptions options) {
    options.connect_limit = absl::Seconds(1);
    return Run(std::move(options));
  }

  TempDir own_dir_, others_dir_;
  std::unique_ptr<Certificates> own_, others_;
  std::unique_ptr<Daemon> server_;
};

TEST_F(TlsTest, AJobRunsAmongHoldersOfCertificates) {
  const test::Completed submitted =
      Tool(As(*own_, "alice"), {"job", "submit", server_->dir().Write("job.yaml", kJob)});
  ASSERT_EQ(submitted.exit, Exit{.code = 0}) << submitted.err;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::thread> threads;
  for (const char* id : {"one", "two"}) {
    auto client =
        Client::Create(Options(id, id), std::make_unique<FakeTrainer>(test::FlatLayout(100, 2)));
    ASSERT_THAT(client, IsOk());
    clients.push_back(*std::move(client));
    threads.emplace_back([c = clients.back().get()] { EXPECT_THAT(c->Run(), IsOk()); });
  }
  const test::Completed watched = Tool(As(*own_, "alice"), {"job", "watch", "secret-1"});
  EXPECT_EQ(watched.exit, Exit{.code = 0}) << watched.err;
  for (const auto& client : clients) client->Stop();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TlsTest, AClientIsWhoItsCertificateSays) {
  EXPECT_THAT(Run(Options("one", "two")),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("the certificate is of 'two', who may not make this call")));
}

TEST_F(TlsTest, AClientIsNoOperatorAndAnOperatorNoClient) {
  const test::Completed refused = Tool(As(*own_, "one"), {"job", "list"});
  EXPECT_EQ(refused.exit, kNotAllowed);
  EXPECT_THAT(refused.err, HasSubstr("the certificate is of 'one', who may not make this call"));
  EXPECT_EQ(Tool(As(*own_, "alice"), {"job", "list"}).exit, Exit{.code = 0});
  EXPECT_THAT(Run(Options("one", "alice")), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(TlsTest, StrangersAreKeptOut) {
  ClientOptions stranger = Options("one", "one");
  stranger.cert_file = others_->CertificateOf("one");
  stranger.key_file = others_->KeyOf("one");
  EXPECT_THAT(RunShortly(stranger), StatusIs(absl::StatusCode::kUnavailable));

  ClientOptions nobody = Options("one", "one");
  nobody.cert_file = nobody.key_file = "";
  EXPECT_THAT(RunShortly(nobody), StatusIs(absl::StatusCode::kUnavailable));

  ClientOptions plain = Options("one", "one");
  plain.ca_file = plain.cert_file = plain.key_file = "";
  EXPECT_THAT(RunShortly(plain), StatusIs(absl::StatusCode::kUnavailable));

  const std::vector<std::string> other_alice = {"--ca",   own_->ca(),
                                                "--cert", others_->CertificateOf("alice"),
                                                "--key",  others_->KeyOf("alice")};
  const test::Completed refused = Tool(other_alice, {"job", "list"});
  EXPECT_EQ(refused.exit, kUnreachable);
  EXPECT_THAT(refused.err, HasSubstr("do --ca, --cert and --key fit?"));
  EXPECT_EQ(Tool({}, {"job", "list"}).exit, kUnreachable);

  // It was none of these: the same server, with the right ones.
  EXPECT_EQ(Tool(As(*own_, "alice"), {"job", "list"}).exit, Exit{.code = 0});
}

TEST_F(TlsTest, WhatHasExpiredIsOfNoUse) {
  ASSERT_THAT(own_->Issue("late", {.days = -1}), IsOk());
  EXPECT_THAT(RunShortly(Options("late", "late")), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(TlsTest, AServerIsBelievedOnlyWithOurAuthoritysWordForItsName) {
  StartServer(*others_);
  EXPECT_THAT(RunShortly(Options("one", "one")), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Tool(As(*own_, "alice"), {"job", "list"}).exit, kUnreachable);

  ASSERT_THAT(own_->Issue("server", {.hosts = "DNS:elsewhere.example"}), IsOk());
  StartServer(*own_);
  EXPECT_THAT(RunShortly(Options("one", "one")), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Tool(As(*own_, "alice"), {"job", "list"}).exit, kUnreachable);
}

}  // namespace
}  // namespace tributary
