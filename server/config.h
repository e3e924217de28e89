// ServerConfig: the configuration of tributaryd, as YAML. docs/operations.md is the reference.
//
//   listen: 0.0.0.0:7433
//   data_dir: /var/lib/tributary
//   tls: {certificate: server.pem, key: server.key, client_ca: ca.pem, operators: [alice]}
#ifndef TRIBUTARY_SERVER_CONFIG_H_
#define TRIBUTARY_SERVER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "common/config/schema.h"

namespace tributary {

struct TlsConfig {
  std::string certificate, key, client_ca;  // PEM files
  std::vector<std::string> operators;       // common names

  static void Describe(config::Fields<TlsConfig>& fields);
};

struct HttpConfig {
  std::string listen = "127.0.0.1:7434";

  static void Describe(config::Fields<HttpConfig>& fields);
};

struct LogConfig {
  std::string level = "info";
  std::string format = "text";

  static void Describe(config::Fields<LogConfig>& fields);
};

struct LimitsConfig {
  int64_t max_chunk_bytes = int64_t{1} << 20;
  int64_t in_flight_bytes = int64_t{8} << 20;
  int64_t in_flight_bytes_per_client = int64_t{4} << 20;
  bool bdp_window = false;
  int64_t max_update_bytes = int64_t{16} << 30;
  int64_t spool_bytes = int64_t{64} << 30;
  int64_t spool_bytes_per_job = int64_t{48} << 30;
  int64_t spool_bytes_per_client = int64_t{16} << 30;
  int64_t min_free_bytes = int64_t{256} << 20;

  static void Describe(config::Fields<LimitsConfig>& fields);
  absl::Status Validate() const;  // a chunk must fit into what may be in flight
};

struct CheckInConfig {
  absl::Duration max_wait_seconds = absl::Seconds(60);
  absl::Duration grace_seconds = absl::Seconds(30);
  absl::Duration retry_min_seconds = absl::Milliseconds(200);
  absl::Duration retry_max_seconds = absl::Seconds(1);
  double per_second = 200;
  absl::Duration longest_rest_seconds = absl::Hours(1);

  static void Describe(config::Fields<CheckInConfig>& fields);
  absl::Status Validate() const;
};

struct ServerConfig {
  std::string listen = "127.0.0.1:7433";
  std::string data_dir;
  std::optional<TlsConfig> tls;
  HttpConfig http;
  LogConfig log;
  LimitsConfig limits;
  CheckInConfig check_in;
  int64_t worker_threads = 4;
  std::optional<int64_t> aggregation_threads;
  absl::Duration shutdown_seconds = absl::Seconds(20);

  static void Describe(config::Fields<ServerConfig>& fields);
  // A listener that is not on loopback needs TLS; addresses must be addresses.
  absl::Status Validate() const;
};

struct Address {
  std::string host;
  int port = 0;  // 0: any
};
// "127.0.0.1:80", "[::1]:80", "localhost:0". InvalidArgument.
absl::StatusOr<Address> ParseAddress(const std::string& text);
// Of this machine alone: 127.0.0.0/8, ::1, localhost.
bool IsLoopback(const std::string& host);

// NotFound, InvalidArgument with every error, one a line.
absl::StatusOr<ServerConfig> ReadServerConfig(const std::string& path);
// Loopback, any port, no TLS.
ServerConfig DevConfig(std::string data_dir);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_CONFIG_H_
