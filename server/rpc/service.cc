#include "server/rpc/service.h"

#include <algorithm>

#include "grpc/grpc_security_constants.h"

namespace tributary {

absl::Status CheckCaller(const grpc::ServerContextBase& context, bool tls,
                         const std::vector<std::string>& allowed) {
  if (!tls) return absl::OkStatus();
  const auto names = context.auth_context()->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  if (names.empty()) return absl::UnauthenticatedError("the call carries no client certificate");
  const std::string name(names.front().data(), names.front().size());
  if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("the certificate is of '", name, "', who may not make this call"));
}

}  // namespace tributary
