// `tributary client …`: who has enrolled, and what became of its work.
#ifndef TRIBUTARY_SERVER_OPERATOR_CLIENT_COMMANDS_H_
#define TRIBUTARY_SERVER_OPERATOR_CLIENT_COMMANDS_H_

#include <string>

#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

ExitCode ListClients(const Console& console, Connection& connection);
ExitCode ShowClient(const Console& console, Connection& connection, const std::string& client_id);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_CLIENT_COMMANDS_H_
