#include "client_sdk/client_options.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view found, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is '", found, "'; allowed: ", allowed));
}

bool IsLoopback(absl::string_view server) {
  if (absl::StartsWith(server, "127.")) {  // and not a name that begins like this
    return server.substr(0, server.rfind(':')).find_first_not_of("0123456789.") ==
           absl::string_view::npos;
  }
  return absl::StartsWith(server, "localhost:") || absl::StartsWith(server, "[::1]:") ||
         absl::StartsWith(server, "unix:");
}

absl::Status ValidateTransport(const ClientOptions& options) {
  if (options.server.empty()) return Invalid("server", "", "host:port");
  if (options.cert_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError("cert_file and key_file: give both or neither");
  }
  if (options.ca_file.empty() && !options.cert_file.empty()) {
    return absl::InvalidArgumentError(
        "ca_file is empty; with cert_file it must name who signed the server's certificate");
  }
  if (options.ca_file.empty() && !options.allow_insecure && !IsLoopback(options.server)) {
    return absl::InvalidArgumentError(
        absl::StrCat("server '", options.server,
                     "' is not on the loopback interface: give ca_file, or set allow_insecure"));
  }
  return absl::OkStatus();
}

absl::Status ValidatePositive(absl::string_view field, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return Invalid(field, absl::FormatDuration(value), "more than 0");
}

}  // namespace

absl::Status Validate(const ClientOptions& options) {
  if (!IsValidId(options.id.value())) {
    return Invalid("id", options.id.value(), "1 to 128 letters, digits, '.', '_' and '-'");
  }
  if (absl::Status s = ValidateTransport(options); !s.ok()) return s;
  if (options.max_wait < absl::ZeroDuration()) {
    return Invalid("max_wait", absl::FormatDuration(options.max_wait), "from 0");
  }
  for (const auto& [field, value] :
       {std::pair{"call_timeout", options.call_timeout},
        std::pair{"retry.first_delay", options.retry.first_delay},
        std::pair{"retry.max_delay", options.retry.max_delay},
        std::pair{"connect_limit", options.connect_limit},
        std::pair{"idle_limit", options.idle_limit}, std::pair{"once_limit", options.once_limit}}) {
    if (absl::Status s = ValidatePositive(field, value); !s.ok()) return s;
  }
  if (options.cached_models < 1) {
    return Invalid("cached_models", absl::StrCat(options.cached_models), "from 1");
  }
  if (options.max_model_bytes < 1) {
    return Invalid("max_model_bytes", absl::StrCat(options.max_model_bytes), "from 1");
  }
  return absl::OkStatus();
}

absl::string_view ClientEventName(ClientEvent::Kind kind) {
  switch (kind) {
    case ClientEvent::Kind::kEnrolled:
      return "enrolled";
    case ClientEvent::Kind::kWaiting:
      return "waiting";
    case ClientEvent::Kind::kWorkReceived:
      return "work received";
    case ClientEvent::Kind::kDownloading:
      return "downloading";
    case ClientEvent::Kind::kTraining:
      return "training";
    case ClientEvent::Kind::kEvaluating:
      return "evaluating";
    case ClientEvent::Kind::kUploading:
      return "uploading";
    case ClientEvent::Kind::kAccepted:
      return "accepted";
    case ClientEvent::Kind::kRefused:
      return "refused";
    case ClientEvent::Kind::kWithdrawn:
      return "withdrawn";
    case ClientEvent::Kind::kFailed:
      return "failed";
    case ClientEvent::Kind::kDisconnected:
      return "disconnected";
  }
  return "unknown";
}

}  // namespace tributary
