#include "simulator/report/run_history.h"

#include <fstream>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/json_fields.h"

namespace tributary::report {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ParseLine(const std::string& text) {
  Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  return line;
}

absl::StatusOr<Json> ParseHeader(const std::string& text) {
  TRIB_ASSIGN_OR_RETURN(Json header, ParseLine(text));
  if (!header.contains("job")) {
    return absl::InvalidArgumentError("the first line has no 'job': this is not an events.jsonl");
  }
  return header;
}

class HistoryReader {
 public:
  absl::Status Header(const std::string& text) {
    TRIB_ASSIGN_OR_RETURN(history_.header, ParseHeader(text));
    return absl::OkStatus();
  }

  absl::Status Line(const std::string& text) {
    TRIB_ASSIGN_OR_RETURN(const Json line, ParseLine(text));
    JsonFields fields(line);
    const int64_t at = fields.Integer("at");
    if (!start_) start_ = at;
    now_ = Seconds(at);
    history_.seconds = now_;
    Take(fields, fields.Text(line.contains("action") ? "action" : "event"));
    return fields.status();
  }

  RunHistory Finish() {
    for (const auto& [id, index] : pending_) {
      OrderSpan& order = history_.orders[index];
      if (order.end == OrderSpan::End::kRunning) order.to = history_.seconds;
    }
    for (auto& [client, since] : present_since_) {
      history_.clients[client].present.push_back({since, history_.seconds});
    }
    return std::move(history_);
  }

 private:
  double Seconds(int64_t nanoseconds) const {
    return static_cast<double>(nanoseconds - *start_) * 1e-9;
  }

  void Take(JsonFields& fields, const std::string& kind) {
    if (kind == "client_available") return Come(fields);
    if (kind == "client_gone") return Leave(fields);
    if (kind == "send_work") return Dispatch(fields);
    if (kind == "update_arrived") return Arrive(fields);
    if (kind == "work_failed") return Lose(fields, fields.Text("cause"));
    if (kind == "recall_work") return Lose(fields, "recalled");
    if (kind == "publish_version") return Publish(fields);
  }

  size_t Client(const std::string& id) {
    const auto [it, added] = clients_.try_emplace(id, history_.clients.size());
    if (added) history_.clients.push_back({.id = id, .orders = {}, .present = {}});
    return it->second;
  }

  void Come(JsonFields& fields) {
    const std::string id = fields.Text("client");
    if (!fields.Flag("evaluate_only")) present_since_.try_emplace(Client(id), now_);
  }

  void Leave(JsonFields& fields) {
    const auto known = clients_.find(fields.Text("client"));
    if (known == clients_.end()) return;
    const auto it = present_since_.find(known->second);
    if (it == present_since_.end()) return;
    history_.clients[known->second].present.push_back({it->second, now_});
    present_since_.erase(it);
  }

  void Dispatch(JsonFields& fields) {
    const std::string id = fields.Text("client");
    if (fields.Text("kind") != "train") return;
    OrderSpan order = {.id = fields.Integer("work_order"),
                       .client = Client(id),
                       .group = fields.Integer("group"),
                       .local_steps = fields.OptionalInteger("local_steps").value_or(0),
                       .from = now_};
    if (const auto at = fields.OptionalInteger("deadline")) order.deadline = Seconds(*at);
    if (const auto at = fields.OptionalInteger("expected")) order.expected = Seconds(*at);
    pending_[order.id] = history_.orders.size();
    history_.clients[order.client].orders.push_back(history_.orders.size());
    present_since_.try_emplace(order.client, now_);
    history_.orders.push_back(order);
  }

  OrderSpan* Running(JsonFields& fields) {
    const auto it = pending_.find(fields.Integer("work_order"));
    if (it == pending_.end()) return nullptr;
    OrderSpan& order = history_.orders[it->second];
    return order.end == OrderSpan::End::kRunning ? &order : nullptr;
  }

  void Arrive(JsonFields& fields) {
    OrderSpan* order = Running(fields);
    if (order == nullptr) return;
    order->local_steps = fields.Integer("local_steps");
    order->to = now_;
    order->end = OrderSpan::End::kArrived;
    ++history_.local_steps[order->local_steps];
  }

  void Lose(JsonFields& fields, const std::string& cause) {
    OrderSpan* order = Running(fields);
    if (order == nullptr) return;
    order->to = now_;
    order->end = OrderSpan::End::kLost;
    ++history_.lost[cause];
    pending_.erase(order->id);
  }

  void Publish(JsonFields& fields) {
    const Json& parts = fields.List("parts");
    history_.publications.push_back({.at = now_,
                                     .version = fields.Integer("version"),
                                     .group = fields.Integer("group"),
                                     .updates = static_cast<int64_t>(parts.size())});
    for (const Json& part : parts) {
      JsonFields applied(part);
      ClientHistory& client = history_.clients[Client(applied.Text("client"))];
      const int64_t staleness = applied.OptionalInteger("staleness").value_or(0);
      pending_.erase(applied.Integer("work_order"));
      ++history_.staleness[staleness];
      ++client.applied;
      client.staleness_sum += staleness;
      fields.Update(applied.status());
    }
  }

  RunHistory history_;
  std::optional<int64_t> start_;  // nanoseconds
  double now_ = 0;
  absl::flat_hash_map<std::string, size_t> clients_;
  absl::flat_hash_map<WorkOrderId, size_t> pending_;  // neither lost nor published
  std::map<size_t, double> present_since_;
};

}  // namespace

absl::StatusOr<RunHistory> ReadHistory(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  HistoryReader reader;
  std::string text;
  int64_t number = 0;
  while (std::getline(file, text)) {
    const absl::Status status = ++number == 1 ? reader.Header(text) : reader.Line(text);
    TRIB_RETURN_IF_ERROR(WithContext(status, absl::StrCat(path, ":", number)));
  }
  if (number == 0) return absl::InvalidArgumentError(absl::StrCat(path, ":1: the file is empty"));
  return reader.Finish();
}

absl::StatusOr<Json> ReadHistoryHeader(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::string text;
  std::getline(file, text);
  auto header = ParseHeader(text);
  if (!header.ok()) return WithContext(header.status(), absl::StrCat(path, ":1"));
  return header;
}

}  // namespace tributary::report
