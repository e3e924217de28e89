#include "client_sdk/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/grpc_connection.h"
#include "client_sdk/internal/session.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientOptions options,
                                                       std::unique_ptr<Trainer> trainer) {
  TRIB_RETURN_IF_ERROR(Validate(options));
  TRIB_ASSIGN_OR_RETURN(std::unique_ptr<sdk::Connection> connection,
                        sdk::GrpcConnection::Create(options));
  auto clock = std::make_unique<RealClock>();
  Clock* const borrowed = clock.get();
  return std::unique_ptr<Client>(new Client(std::move(options), std::move(trainer),
                                            std::move(clock), borrowed, std::move(connection)));
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientOptions options,
                                                       std::unique_ptr<Trainer> trainer,
                                                       std::unique_ptr<sdk::Connection> connection,
                                                       Clock* clock) {
  TRIB_RETURN_IF_ERROR(Validate(options));
  return std::unique_ptr<Client>(
      new Client(std::move(options), std::move(trainer), nullptr, clock, std::move(connection)));
}

Client::Client(ClientOptions options, std::unique_ptr<Trainer> trainer,
               std::unique_ptr<Clock> own_clock, Clock* clock,
               std::unique_ptr<sdk::Connection> connection)
    : options_(std::move(options)),
      trainer_(std::move(trainer)),
      own_clock_(std::move(own_clock)),
      clock_(clock),
      connection_(std::move(connection)),
      session_(std::make_unique<sdk::Session>(options_, trainer_.get(), connection_.get(), clock_,
                                              stop_.get_token())) {}

Client::~Client() = default;

absl::Status Client::Run() {
  const absl::Status ended = session_->Run();
  return absl::IsCancelled(ended) && stop_.stop_requested() ? absl::OkStatus() : ended;
}

absl::Status Client::RunOnce() { return session_->RunOnce(); }

absl::Status Client::SetTask(int64_t task) {
  if (task < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("task: found ", task, ", allowed: an integer from 0"));
  }
  session_->SetTask(task);
  return absl::OkStatus();
}

void Client::Stop() { stop_.request_stop(); }

}  // namespace tributary
