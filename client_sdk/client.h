// Client: takes part in federated learning with a Trainer of yours.
//
//   ClientOptions options;
//   options.server = "coordinator.example:7433";
//   options.id = ClientId("device-17");
//   options.ca_file = "ca.pem";
//   TRIB_ASSIGN_OR_RETURN(auto client, Client::Create(options, std::make_unique<MyTrainer>()));
//   return client->Run();    // until Stop() from another thread
//
// docs/sdk.md has a whole program.
#ifndef TRIBUTARY_CLIENT_SDK_CLIENT_H_
#define TRIBUTARY_CLIENT_SDK_CLIENT_H_

#include <memory>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/client_options.h"
#include "client_sdk/connection.h"
#include "client_sdk/trainer.h"
#include "common/clock.h"

namespace tributary {

namespace sdk {
class Session;
}

// Run and RunOnce: by one thread at a time. SetTask, Stop: thread-safe.
class Client {
 public:
  // InvalidArgument: an option; NotFound, FailedPrecondition: a certificate file. Does not
  // connect yet.
  static absl::StatusOr<std::unique_ptr<Client>> Create(ClientOptions options,
                                                        std::unique_ptr<Trainer> trainer);
  // With a connection and a clock of your own, for tests and other transports. The clock
  // outlives the client.
  static absl::StatusOr<std::unique_ptr<Client>> Create(ClientOptions options,
                                                        std::unique_ptr<Trainer> trainer,
                                                        std::unique_ptr<sdk::Connection> connection,
                                                        Clock* clock);
  ~Client();

  // Works until Stop, or until options.idle_limit passes without work: both OK. A server that
  // cannot be reached is tried again for options.connect_limit, then Unavailable.
  // Unauthenticated, PermissionDenied: the server does not let this client in.
  // InvalidArgument, FailedPrecondition, Unimplemented: it does not speak with this client.
  // A trainer's errors are reported to the server and end nothing.
  absl::Status Run();

  // As Run, but ends with OK when one work order of training (of evaluation, for a client
  // that only evaluates) was counted. DeadlineExceeded after options.once_limit without.
  // The trainer's error or the refusal (FailedPrecondition) if the work came to nothing.
  absl::Status RunOnce();

  // Which task the client's newest data belong to, from 0: what it tells from the next check-in on.
  // A job with continual.reported_share goes on to its next task when enough clients have data of a
  // later one; orders name the task whose data they are for. At first 0. InvalidArgument: negative.
  absl::Status SetTask(int64_t task);

  // Ends Run or RunOnce soon, with OK or Cancelled: work in progress is given back to the
  // server. For good. Takes locks, so not from a signal handler: block the signals and let a
  // thread of yours wait for them (client_sdk/app/main.cc shows how).
  void Stop();

 private:
  Client(ClientOptions options, std::unique_ptr<Trainer> trainer, std::unique_ptr<Clock> own_clock,
         Clock* clock, std::unique_ptr<sdk::Connection> connection);

  // Constant after construction.
  const ClientOptions options_;
  const std::unique_ptr<Trainer> trainer_;
  const std::unique_ptr<Clock> own_clock_;
  Clock* const clock_;
  const std::unique_ptr<sdk::Connection> connection_;

  // Synchronises itself.
  std::stop_source stop_;

  // Used by the thread that runs only, but for SetTask.
  const std::unique_ptr<sdk::Session> session_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_CLIENT_H_
