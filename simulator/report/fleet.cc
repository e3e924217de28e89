#include "simulator/report/fleet.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/json_fields.h"

namespace tributary::report {

namespace {

using Json = nlohmann::json;

void ReadClient(JsonFields& fields, Fleet& fleet) {
  fleet.clients[fields.Text("id")] = {
      .seconds_per_step = fields.OptionalNumber("seconds_per_step"),
      .uplink_mbps = fields.OptionalNumber("uplink_mbps"),
      .downlink_mbps = fields.OptionalNumber("downlink_mbps"),
      .latency_ms = fields.OptionalNumber("latency_ms"),
      .examples = fields.OptionalInteger("examples"),
      .joins_at_seconds = fields.OptionalNumber("joins_at_seconds"),
      .vanishes_at_seconds = fields.OptionalNumber("vanishes_at_seconds"),
  };
}

void ReadSpeedChange(JsonFields& fields, Fleet& fleet) {
  SpeedChange change = {
      .at = fields.Number("at_seconds"), .factor = fields.Number("factor"), .clients = {}};
  for (const Json& id : fields.List("clients")) {
    if (id.is_string()) change.clients.insert(id.get<std::string>());
  }
  fleet.speed_changes.push_back(std::move(change));
}

}  // namespace

std::optional<double> Fleet::SecondsPerStep(const std::string& client, double at) const {
  const auto it = clients.find(client);
  if (it == clients.end() || !it->second.seconds_per_step) return std::nullopt;
  double seconds = *it->second.seconds_per_step;
  for (const SpeedChange& change : speed_changes) {
    if (change.at <= at && change.clients.contains(client)) seconds *= change.factor;
  }
  return seconds;
}

absl::StatusOr<Fleet> ReadFleet(const std::string& path) {
  const auto json = ReadJsonObject(path);
  if (absl::IsNotFound(json.status())) return Fleet();
  if (!json.ok()) return json.status();
  JsonFields file(*json);
  Fleet fleet;
  int64_t number = 0;
  for (const Json& entry : file.List("clients")) {
    JsonFields fields(entry);
    ReadClient(fields, fleet);
    file.Update(WithContext(fields.status(), absl::StrCat("client ", ++number)));
  }
  number = 0;
  for (const Json& entry : file.List("speed_changes")) {
    JsonFields fields(entry);
    ReadSpeedChange(fields, fleet);
    file.Update(WithContext(fields.status(), absl::StrCat("speed change ", ++number)));
  }
  if (!file.status().ok()) return WithContext(file.status(), path);
  return fleet;
}

}  // namespace tributary::report
