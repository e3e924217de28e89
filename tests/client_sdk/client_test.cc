#include "client_sdk/client.h"

#include <latch>
#include <memory>
#include <thread>
#include <utility>

#include "client_sdk/mocks/fake_trainer.h"
#include "client_sdk/mocks/mock_connection.h"
#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::testing::NiceMock;
using ::testing::Return;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

ClientOptions Options() {
  ClientOptions options;
  options.server = "localhost:1";
  options.id = ClientId("c1");
  options.idle_limit = absl::Minutes(1);
  return options;
}

std::unique_ptr<Trainer> NewTrainer() { return std::make_unique<FakeTrainer>(FlatLayout(4)); }

TEST(ClientTest, RefusesOptionsThatMakeNoSense) {
  ClientOptions options = Options();
  options.id = ClientId("not an id");
  EXPECT_THAT(Client::Create(options, NewTrainer()), StatusIs(absl::StatusCode::kInvalidArgument));
  SimulatedClock clock;
  EXPECT_THAT(Client::Create(options, NewTrainer(), std::make_unique<sdk::FakeServer>(), &clock),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ClientTest, CertificateFilesAreReadWhenItIsMade) {
  const test::TempDir dir;
  ClientOptions options = Options();
  options.ca_file = dir.File("absent.pem");
  EXPECT_THAT(Client::Create(options, NewTrainer()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("ca_file")));
  options.ca_file = dir.Write("ca.pem", "hello");
  EXPECT_THAT(Client::Create(options, NewTrainer()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("PEM")));
}

TEST(ClientTest, RunsUntilThereIsNoMoreWork) {
  SimulatedClock clock;
  auto server = std::make_unique<sdk::FakeServer>();
  sdk::FakeServer& seen = *server;
  server->check_ins.push_back(sdk::MakeOrder(sdk::WorkKind::kInitialise, 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto client,
                            Client::Create(Options(), NewTrainer(), std::move(server), &clock));
  EXPECT_THAT(client->Run(), IsOk());
  EXPECT_TRUE(seen.uploads.at(1).accepted);
}

TEST(ClientTest, ModelsAreHeldFromOneRunToTheNext) {
  SimulatedClock clock;
  auto server = std::make_unique<sdk::FakeServer>();
  sdk::FakeServer& seen = *server;
  server->models[3] = test::RandomParams(FlatLayout(4), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto client,
                            Client::Create(Options(), NewTrainer(), std::move(server), &clock));
  for (const WorkOrderId id : {1, 2}) {
    seen.check_ins.push_back(sdk::MakeOrder(sdk::WorkKind::kTrain, id, 3));
    EXPECT_THAT(client->RunOnce(), IsOk());
  }
  EXPECT_EQ(seen.fetched_bytes, 16);
}

TEST(ClientTest, ATaskIsNotNegative) {
  SimulatedClock clock;
  auto server = std::make_unique<sdk::FakeServer>();
  sdk::FakeServer& seen = *server;
  TRIB_ASSERT_OK_AND_ASSIGN(const auto client,
                            Client::Create(Options(), NewTrainer(), std::move(server), &clock));
  seen.models[3] = test::RandomParams(FlatLayout(4), 1);
  EXPECT_THAT(client->SetTask(7), IsOk());
  EXPECT_THAT(client->SetTask(-1), StatusIs(absl::StatusCode::kInvalidArgument));
  seen.check_ins.push_back(sdk::MakeOrder(sdk::WorkKind::kTrain, 1, 3));
  EXPECT_THAT(client->RunOnce(), IsOk());
  EXPECT_THAT(seen.tasks, ::testing::Each(7));
}

TEST(ClientTest, StopEndsACallThatTheServerHolds) {
  for (const bool once : {false, true}) {
    RealClock clock;
    auto connection = std::make_unique<NiceMock<sdk::MockConnection>>();
    std::latch held(1);
    ON_CALL(*connection, Enroll).WillByDefault(Return(sdk::ServerLimits{}));
    EXPECT_CALL(*connection, CheckIn)
        .WillOnce([&](absl::Duration, int64_t,
                      std::stop_token stop) -> absl::StatusOr<sdk::CheckInAnswer> {
          held.count_down();
          std::latch stopped(1);
          const std::stop_callback on_stop(stop, [&] { stopped.count_down(); });
          stopped.wait();
          return absl::CancelledError("stopped");
        });
    EXPECT_CALL(*connection, AbandonWork).Times(0);
    TRIB_ASSERT_OK_AND_ASSIGN(
        const auto client, Client::Create(Options(), NewTrainer(), std::move(connection), &clock));
    absl::Status ended;
    std::thread runner([&] { ended = once ? client->RunOnce() : client->Run(); });
    held.wait();
    client->Stop();
    runner.join();
    EXPECT_THAT(ended, StatusIs(once ? absl::StatusCode::kCancelled : absl::StatusCode::kOk));
  }
}

TEST(ClientTest, AStopBeforeTheStartIsNotForgotten) {
  SimulatedClock clock;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const auto client,
      Client::Create(Options(), NewTrainer(), std::make_unique<sdk::FakeServer>(), &clock));
  client->Stop();
  EXPECT_THAT(client->Run(), IsOk());
  EXPECT_THAT(client->RunOnce(), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace tributary
