#include "server/operator/client_commands.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/cli/format.h"
#include "server/operator/messages.h"

namespace tributary::op {
namespace {

using cli::FormatBytes;
using cli::FormatTable;

}  // namespace

ExitCode ListClients(const Console& console, Connection& connection) {
  const auto response =
      connection.Call(&v1::Operator::StubInterface::ListClients, v1::ListClientsRequest());
  if (!response.ok()) return console.Fail(response.status());
  if (console.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const v1::Client& client : response->clients()) list.push_back(ToJson(client));
    console.PrintJson(list);
    return ExitCode::kDone;
  }
  std::vector<std::vector<std::string>> rows = {
      {"CLIENT", "ROLE", "STATE", "LAST SEEN", "UPDATES", "LOST", "UPLINK"}};
  for (const v1::Client& client : response->clients()) {
    rows.push_back({client.client_id(), client.evaluate_only() ? "evaluates" : "trains",
                    client.state(), FormatTime(client.last_seen_at()),
                    absl::StrCat(client.updates()), absl::StrCat(client.lost()),
                    FormatBytes(static_cast<double>(client.uplink_bytes()))});
  }
  console.out << FormatTable(rows);
  return ExitCode::kDone;
}

ExitCode ShowClient(const Console& console, Connection& connection, const std::string& client_id) {
  v1::GetClientRequest request;
  request.set_client_id(client_id);
  const auto client = connection.Call(&v1::Operator::StubInterface::GetClient, request);
  if (!client.ok()) return console.Fail(client.status());
  if (console.json) {
    console.PrintJson(ToJson(*client));
    return ExitCode::kDone;
  }
  console.out << FormatTable(
      {{"client", client->client_id()},
       {"role", client->evaluate_only() ? "evaluates" : "trains"},
       {"state", client->state()},
       {"program", client->user_agent()},
       {"enrolled", FormatTime(client->enrolled_at())},
       {"last seen", FormatTime(client->last_seen_at())},
       {"updates", absl::StrCat(client->updates())},
       {"lost", absl::StrCat(client->lost())},
       {"uplink", FormatBytes(static_cast<double>(client->uplink_bytes()))}});
  return ExitCode::kDone;
}

}  // namespace tributary::op
