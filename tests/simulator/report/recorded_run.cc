#include "tests/simulator/report/recorded_run.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace tributary::test {
namespace {

using Json = nlohmann::json;

constexpr int kClients = 6;
constexpr int kSteps = 10;
constexpr double kAccuracyStep = 0.05;

class Recorder {
 public:
  explicit Recorder(const RecordedRun& run) : run_(run), end_(run.versions * 5.0 * run.slowness) {}

  std::string Events() {
    for (int client = 0; client < kClients; ++client) Work(client);
    for (int version = 1; version <= run_.versions; ++version) Publish(version);
    const Json job = {{"name", run_.name},
                      {"seed", run_.seed},
                      {"scheduler", {{"compass", {{"max_local_steps", kSteps}}}}},
                      {"model", {{"builtin", {{"name", "mlp"}, {"hidden", {100}}}}}},
                      {"codec", Json::array()}};
    std::string text = Json{{"job", job}}.dump() + "\n";
    for (const auto& [at, line] : lines_) absl::StrAppend(&text, line, "\n");
    return text;
  }

  std::string Metrics() const {
    std::string text =
        "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,client_steps,"
        "server_rate,mean_staleness,client_rate,phase,task";
    for (int task = 0; task < run_.tasks; ++task) absl::StrAppend(&text, ",accuracy_task_", task);
    text += "\n";
    for (int v = 0; v <= run_.versions; ++v) {
      absl::StrAppend(&text, v, ",", PublishedAt(v), ",", 2 * v, ",", 2.3 - 0.15 * v, ",",
                      0.2 + kAccuracyStep * v, ",", 1000000 * v, ",", 1200000 * v, ",",
                      2 * kSteps * v, ",1,0.5,", 1 + run_.rate_growth * v, ",",
                      v == 0 ? "initialise" : "train", ",0");
      for (int task = 0; task < run_.tasks; ++task) absl::StrAppend(&text, ",", 0.1 * task);
      text += "\n";
    }
    return text;
  }

  std::string Summary() const {
    const Json reached = {{"accuracy", 0.5},
                          {"version", 6},
                          {"updates", 12},
                          {"virtual_seconds", PublishedAt(6)},
                          {"uplink_bytes", 6000000}};
    const Json never = {{"accuracy", 0.9},
                        {"version", nullptr},
                        {"updates", nullptr},
                        {"virtual_seconds", nullptr},
                        {"uplink_bytes", nullptr}};
    const double accuracy = 0.2 + kAccuracyStep * run_.versions;
    Json summary{{"name", run_.name},
                 {"seed", run_.seed},
                 {"versions", run_.versions},
                 {"updates", 2 * run_.versions},
                 {"client_steps", 2 * kSteps * run_.versions},
                 {"virtual_seconds", end_},
                 {"wall_seconds", 0.5},
                 {"uplink_bytes", 1000000 * run_.versions},
                 {"downlink_bytes", 1200000 * run_.versions},
                 {"uplink_bytes_dense", 4000000 * run_.versions},
                 {"final", {{"loss", 0.5}, {"accuracy", accuracy}}},
                 {"best", {{"accuracy", accuracy}, {"version", run_.versions}}},
                 {"targets", {reached, never}},
                 {"staleness", {{"mean", 0.5}, {"max", 2}}},
                 {"clients", {{"count", kClients}, {"lost", 3}, {"late_updates", 2}}},
                 {"scheduler", {{"groups_opened", 9}, {"late", {{"kept", 2}, {"dropped", 0}}}}}};
    if (run_.tasks > 0) summary["tasks"] = Tasks();
    return summary.dump();
  }

  Json Tasks() const {
    Json accuracy = Json::array();
    double sum = 0;
    for (int t = 0; t < run_.tasks; ++t) {
      Json row = Json::array();
      sum = 0;
      for (int j = 0; j <= t; ++j) {
        row.push_back(0.9 - 0.1 * (t - j));
        sum += 0.9 - 0.1 * (t - j);
      }
      accuracy.push_back(row);
    }
    return {{"accuracy", accuracy},
            {"average_accuracy", sum / run_.tasks},
            {"forgetting", 0.1 * run_.tasks / 2}};
  }

  static std::string FleetFile(double slowness) {
    Json clients = Json::array();
    for (int c = 0; c < kClients; ++c) {
      clients.push_back({{"id", Id(c)},
                         {"seconds_per_step", 0.1 * (c + 1) * slowness},
                         {"uplink_mbps", 10.0},
                         {"downlink_mbps", 50.0},
                         {"latency_ms", 40.0},
                         {"examples", 100 + c},
                         {"joins_at_seconds", 0.0},
                         {"vanishes_at_seconds", nullptr}});
    }
    return Json{{"clients", clients}, {"speed_changes", Json::array()}}.dump();
  }

 private:
  static std::string Id(int client) { return absl::StrCat("c", client); }
  double PublishedAt(int version) const { return 5.0 * version * run_.slowness; }

  void Add(double at, Json line) {
    line["at"] = Nanos(at);
    lines_.emplace(Nanos(at), line.dump());
  }
  static int64_t Nanos(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

  // Works without a pause but one, of a step's time, after each order.
  void Work(int client) {
    const double step = 0.1 * (client + 1) * run_.slowness;
    const double leaves = client == 3 ? end_ / 2 : end_;
    Add(0, {{"event", "client_available"}, {"client", Id(client)}, {"evaluate_only", false}});
    double at = 0;
    for (int order = 1;; ++order) {
      const double length = kSteps * step * (client == 4 && order % 2 == 0 ? 1.5 : 1.0);
      if (at + length > leaves) break;
      const int64_t id = 1000 * (client + 1) + order;
      Json send = {{"action", "send_work"}, {"work_order", id},
                   {"client", Id(client)},  {"kind", "train"},
                   {"version", 0},          {"group", client / 2 + 3 * (order / 3)},
                   {"local_steps", kSteps}, {"deadline", Nanos(at + 1.2 * kSteps * step)}};
      if (run_.predicts) send["expected"] = Nanos(at + kSteps * step * (1 + 0.4 / order));
      Add(at, send);
      at += length;
      if (client == 5 && order % 3 == 0) {
        Add(at, {{"event", "work_failed"}, {"work_order", id}, {"cause", "timed_out"}});
      } else {
        Add(at, {{"event", "update_arrived"}, {"work_order", id}, {"local_steps", kSteps}});
        arrived_.emplace(at, std::pair(id, client));
      }
      at += step;
    }
    if (client == 3) Add(leaves, {{"event", "client_gone"}, {"client", Id(client)}});
  }

  // All that has arrived by then.
  void Publish(int version) {
    Json parts = Json::array();
    while (!arrived_.empty() && arrived_.begin()->first <= PublishedAt(version)) {
      const auto [id, client] = arrived_.begin()->second;
      parts.push_back({{"work_order", id}, {"client", Id(client)}, {"staleness", client / 2}});
      arrived_.erase(arrived_.begin());
    }
    Add(PublishedAt(version), {{"action", "publish_version"},
                               {"version", version},
                               {"group", version},
                               {"parts", std::move(parts)}});
  }

  const RecordedRun& run_;
  const double end_;
  std::multimap<int64_t, std::string> lines_;
  std::multimap<double, std::pair<int64_t, int>> arrived_;
};

}  // namespace

std::string WriteRecordedRun(const TempDir& dir, const std::string& folder,
                             const RecordedRun& run) {
  Recorder recorder(run);
  dir.Write(folder + "/events.jsonl", recorder.Events());
  dir.Write(folder + "/metrics.csv", recorder.Metrics());
  dir.Write(folder + "/summary.json", recorder.Summary());
  if (run.fleet) dir.Write(folder + "/fleet.json", Recorder::FleetFile(run.slowness));
  return dir.File(folder);
}

}  // namespace tributary::test
