// HealthServer: GET /healthz (the process is alive) and /readyz (work can be taken), as JSON
// over HTTP on a port of its own.
//
//   200 {"status":"ok"}      503 {"status":"unavailable","reason":"…"}
#ifndef TRIBUTARY_SERVER_DASHBOARD_HEALTH_SERVER_H_
#define TRIBUTARY_SERVER_DASHBOARD_HEALTH_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tributary {

// Thread-compatible; serves on threads of its own until it is destroyed.
class HealthServer {
 public:
  // `ready` is called on a thread of the server. Port 0: any. Unavailable: cannot listen.
  static absl::StatusOr<std::unique_ptr<HealthServer>> Create(const std::string& host, int port,
                                                              std::function<absl::Status()> ready);
  ~HealthServer();

  int port() const;

 private:
  struct Http;
  explicit HealthServer(std::unique_ptr<Http> http);
  std::unique_ptr<Http> http_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_DASHBOARD_HEALTH_SERVER_H_
