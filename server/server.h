// Server: tributaryd without its command line: the store, the spool, the live host, gRPC and
// health, made in order and ended in order.
#ifndef TRIBUTARY_SERVER_SERVER_H_
#define TRIBUTARY_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/config.h"

namespace tributary {

// Thread-compatible.
class Server {
 public:
  // Recovers what is under `config.data_dir` and listens when it returns. FailedPrecondition:
  // another process has the directory; Unavailable: an address is taken. `clock` outlives this.
  static absl::StatusOr<std::unique_ptr<Server>> Create(const ServerConfig& config, Clock* clock);
  ~Server();  // Shutdown

  // That the files that the configuration names can be read, naming the field.
  static absl::Status CheckFiles(const ServerConfig& config);

  int grpc_port() const;
  int http_port() const;

  // Answers held check-ins, lets running calls and publications end within the configured
  // time, and closes the store. What is cut off goes on at the next start.
  void Shutdown();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_SERVER_H_
