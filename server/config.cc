#include "server/config.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/config/yaml.h"
#include "common/status_macros.h"

namespace tributary {

void TlsConfig::Describe(config::Fields<TlsConfig>& fields) {
  fields.Add("certificate", &TlsConfig::certificate, "the server's certificate chain, PEM file")
      .Required();
  fields.Add("key", &TlsConfig::key, "its private key, PEM file").Required();
  fields
      .Add("client_ca", &TlsConfig::client_ca,
           "who signs the certificates of clients and operators, PEM file")
      .Required();
  fields.Add("operators", &TlsConfig::operators,
             "common names of the certificates that may call the Operator service");
}

void HttpConfig::Describe(config::Fields<HttpConfig>& fields) {
  fields.Add("listen", &HttpConfig::listen, "host:port of /healthz and /readyz");
}

void LogConfig::Describe(config::Fields<LogConfig>& fields) {
  fields.Add("level", &LogConfig::level, "the least that is logged")
      .OneOf({"debug", "info", "warning", "error", "off"});
  fields.Add("format", &LogConfig::format, "text for people, json for machines")
      .OneOf({"text", "json"});
}

void LimitsConfig::Describe(config::Fields<LimitsConfig>& fields) {
  fields.Add("max_chunk_bytes", &LimitsConfig::max_chunk_bytes, "largest chunk of a transfer")
      .Min(1024)
      .Max(16 << 20);
  fields
      .Add("in_flight_bytes", &LimitsConfig::in_flight_bytes,
           "chunks in memory over all transfers, uploads and downloads each")
      .Min(1024);
  fields
      .Add("in_flight_bytes_per_client", &LimitsConfig::in_flight_bytes_per_client,
           "the same for the uploads of one client; more are refused until one ends")
      .Min(1024);
  fields.Add(
      "bdp_window", &LimitsConfig::bdp_window,
      "what a client may send ahead follows its connection's bandwidth-delay product: faster "
      "over long links, up to 16 MiB of memory a connection");
  fields
      .Add("max_update_bytes", &LimitsConfig::max_update_bytes,
           "longest payload of an update, and file of a job")
      .Min(1024);
  fields
      .Add("spool_bytes", &LimitsConfig::spool_bytes,
           "updates on disk that are not combined yet; more are put off until some are")
      .Min(1024);
  fields
      .Add("spool_bytes_per_job", &LimitsConfig::spool_bytes_per_job,
           "the same for those of one job")
      .Min(1024);
  fields
      .Add("spool_bytes_per_client", &LimitsConfig::spool_bytes_per_client,
           "the same for those of one client")
      .Min(1024);
  fields
      .Add("min_free_bytes", &LimitsConfig::min_free_bytes,
           "free space of data_dir's file system below which the jobs pause")
      .Min(1 << 20);
}

absl::Status LimitsConfig::Validate() const {
  if (max_chunk_bytes <= in_flight_bytes && max_chunk_bytes <= in_flight_bytes_per_client) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("max_chunk_bytes: found ", max_chunk_bytes,
                   ", at most in_flight_bytes and in_flight_bytes_per_client, which are ",
                   in_flight_bytes, " and ", in_flight_bytes_per_client));
}

void CheckInConfig::Describe(config::Fields<CheckInConfig>& fields) {
  fields
      .Add("max_wait_seconds", &CheckInConfig::max_wait_seconds,
           "how long a check-in without work is held")
      .Min(0)
      .Max(600);
  fields
      .Add("grace_seconds", &CheckInConfig::grace_seconds,
           "an idle client that does not come back for this long is gone")
      .GreaterThan(0);
  fields
      .Add("retry_min_seconds", &CheckInConfig::retry_min_seconds,
           "earliest moment of the next check-in")
      .Min(0);
  fields
      .Add("retry_max_seconds", &CheckInConfig::retry_max_seconds,
           "latest moment of the next check-in, in a small fleet")
      .GreaterThan(0);
  fields
      .Add("per_second", &CheckInConfig::per_second,
           "check-ins a second that the retry window aims at, in a large fleet")
      .GreaterThan(0);
  fields
      .Add("longest_rest_seconds", &CheckInConfig::longest_rest_seconds,
           "longest absence told to a client that no job wants before some time")
      .GreaterThan(0)
      .Max(86400);
}

absl::Status CheckInConfig::Validate() const {
  if (retry_min_seconds <= retry_max_seconds) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "retry_min_seconds: found ", absl::ToDoubleSeconds(retry_min_seconds),
      ", at most retry_max_seconds, which is ", absl::ToDoubleSeconds(retry_max_seconds)));
}

void ServerConfig::Describe(config::Fields<ServerConfig>& fields) {
  fields.Add("listen", &ServerConfig::listen, "host:port of the gRPC services; port 0: any");
  fields.Add("data_dir", &ServerConfig::data_dir, "everything that must survive").Required();
  fields.Add("tls", &ServerConfig::tls, "needed unless `listen` is a loopback address");
  fields.Add("http", &ServerConfig::http, "health over HTTP");
  fields.Add("log", &ServerConfig::log, "what is written to standard error");
  fields.Add("limits", &ServerConfig::limits, "bounds on memory and disk");
  fields.Add("check_in", &ServerConfig::check_in, "how clients without work come back");
  fields.Add("worker_threads", &ServerConfig::worker_threads, "threads for disk and arithmetic")
      .Min(1)
      .Max(256);
  fields
      .Add("aggregation_threads", &ServerConfig::aggregation_threads,
           "threads that make one version together; absent: as many as the machine runs at once")
      .Min(1)
      .Max(256);
  fields
      .Add("shutdown_seconds", &ServerConfig::shutdown_seconds,
           "after SIGTERM, how long running calls and publications may take")
      .GreaterThan(0);
}

absl::Status ServerConfig::Validate() const {
  if (data_dir.empty()) return absl::InvalidArgumentError("data_dir: must not be empty");
  for (const auto& [field, text] : {std::pair<const char*, const std::string&>("listen", listen),
                                    {"http.listen", http.listen}}) {
    TRIB_RETURN_IF_ERROR(WithContext(ParseAddress(text).status(), field));
  }
  if (!tls && !IsLoopback(ParseAddress(listen)->host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen: found '", listen,
                     "', which other machines can reach, without a section 'tls'; allowed "
                     "without it are 127.0.0.1, [::1] and localhost"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  const auto bad = absl::InvalidArgumentError(absl::StrCat(
      "found '", text, "', allowed is host:port or [IPv6]:port with a port from 0 to 65535"));
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad;
  Address address{.host = text.substr(0, colon), .port = 0};
  if (!absl::SimpleAtoi(text.substr(colon + 1), &address.port)) return bad;
  if (address.port < 0 || address.port > 65535) return bad;
  if (address.host.front() == '[') {
    if (address.host.size() < 3 || address.host.back() != ']') return bad;
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (address.host.find(':') != std::string::npos) {
    return bad;
  }
  return address;
}

bool IsLoopback(const std::string& host) {
  if (host == "::1" || host == "localhost") return true;
  return absl::StartsWith(host, "127.") &&
         host.find_first_not_of("0123456789.") == std::string::npos;
}

absl::StatusOr<ServerConfig> ReadServerConfig(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::ReadYamlFile(path));
  return config::Parse<ServerConfig>(node);
}

ServerConfig DevConfig(std::string data_dir) {
  ServerConfig made;
  made.listen = "127.0.0.1:0";
  made.http.listen = "127.0.0.1:0";
  made.data_dir = std::move(data_dir);
  return made;
}

}  // namespace tributary
