// ClientOptions: everything that an application tells a Client, and ClientEvent, what it
// hears back.
#ifndef TRIBUTARY_CLIENT_SDK_CLIENT_OPTIONS_H_
#define TRIBUTARY_CLIENT_SDK_CLIENT_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/ids.h"

namespace tributary {

// What a client is doing. Fields that do not apply are zero or empty.
struct ClientEvent {
  enum class Kind {
    kEnrolled,      // `message`: the server's name and version
    kWaiting,       // nothing to do for now
    kWorkReceived,  // job, work_order, version
    kDownloading,   // done, total: bytes of the model
    kTraining,      // done, total: optimizer steps; total 0: not known
    kEvaluating,
    kUploading,     // done, total: bytes of the payload sent
    kAccepted,      // the result was counted
    kRefused,       // it was not, and `message` says why
    kWithdrawn,     // the server no longer wants the work
    kFailed,        // the work could not be done; `message`
    kDisconnected,  // the server cannot be reached or turned a call down; `message`
  };
  Kind kind = Kind::kWaiting;
  JobId job;
  std::string job_name;
  std::string work;  // "initialise", "train" or "evaluate"
  WorkOrderId work_order = 0;
  Version version = 0;
  int64_t done = 0;
  int64_t total = 0;
  std::string message;
};
absl::string_view ClientEventName(ClientEvent::Kind kind);  // "enrolled", "waiting", …

// Exponential back-off with full jitter: the n-th delay (from 0) is drawn evenly from
// [0, min(max_delay, first_delay · 2^n)].
struct RetryOptions {
  absl::Duration first_delay = absl::Milliseconds(500);
  absl::Duration max_delay = absl::Seconds(30);
  // Give up when failures go on for this long without anything getting through.
  absl::Duration give_up_after = absl::InfiniteDuration();
};

struct ClientOptions {
  // "host:port" of the coordinator.
  std::string server;
  // Stable across restarts; with TLS, the certificate's common name. See common/ids.h.
  ClientId id;
  // Evaluates but never trains.
  bool evaluate_only = false;
  // Of jobs with adapters of several ranks: the largest one that this client trains; 0: as the
  // server finds. And the memory in bytes that training may take, by which a job may choose the
  // rank; 0: not told.
  int64_t adapter_rank = 0;
  int64_t memory_bytes = 0;
  // For people, "my-app/1.0".
  std::string user_agent = "tributary-sdk/0.1.0";

  // PEM files. ca_file: who signed the server's certificate; its presence turns TLS on.
  // cert_file and key_file: this client's own, both or neither.
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  // Without TLS, only a server on the loopback interface is spoken to unless this is set.
  bool allow_insecure = false;

  // How long the server may hold a check-in when it has no work.
  absl::Duration max_wait = absl::Seconds(30);
  // Longest silence of the server within a call; a check-in may take max_wait more.
  absl::Duration call_timeout = absl::Seconds(30);
  RetryOptions retry;
  // Run ends with Unavailable after this long without reaching the server.
  absl::Duration connect_limit = absl::InfiniteDuration();
  // Run ends with OK after this long without work.
  absl::Duration idle_limit = absl::InfiniteDuration();
  // RunOnce ends with DeadlineExceeded after this long without work.
  absl::Duration once_limit = absl::Minutes(10);

  // Runs the TorchScript programs that jobs bring as their models. A program is code: with it, who
  // may submit jobs may run code here. Without, such work is given back.
  bool allow_programs = false;

  // Models kept in memory, newest use first, so that they need not be sent again.
  int cached_models = 2;
  // A folder of this client's own for what it keeps across restarts: the newest model of each job,
  // what lossy codecs left out of its updates, programs, and an update on its way until the server
  // has said whether it counts. What was not written for 30 days is removed. Empty: in memory only.
  std::string state_dir;
  // A larger model is refused, and a larger program.
  int64_t max_model_bytes = int64_t{16} << 30;

  // Called on the thread that runs the client; must be quick. May be empty.
  std::function<void(const ClientEvent&)> on_event;
};

// InvalidArgument naming the field, what was found and what is allowed.
absl::Status Validate(const ClientOptions& options);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_CLIENT_OPTIONS_H_
