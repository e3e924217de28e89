#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/client_figures.h"
#include "simulator/report/figures_json.h"
#include "simulator/report/fleet.h"
#include "simulator/report/json_fields.h"
#include "simulator/report/metrics_table.h"
#include "simulator/report/page.h"
#include "simulator/report/report.h"
#include "simulator/report/run_history.h"

namespace tributary::report {
namespace {

using Json = nlohmann::json;

// Lines that say what a page leaves out.
using Notes = std::vector<std::string>;

// The clients to show, evenly over the speeds, none in part.
std::vector<size_t> ShownClients(const std::vector<ClientFigures>& clients,
                                 const ReportLimits& limits) {
  for (size_t wanted = std::min(limits.clients, clients.size()); wanted >= 2;
       wanted -= wanted / 8 + 1) {
    std::vector<size_t> shown = Thinned(clients.size(), wanted);
    size_t orders = 0;
    for (const size_t i : shown) orders += clients[i].orders.size();
    if (orders <= limits.orders) return shown;
  }
  return clients.empty() ? std::vector<size_t>{} : std::vector<size_t>{0};
}

Json ClientJson(const ClientFigures& c) {
  return {{"id", c.id},
          {"seconds_per_step", OrNull(c.seconds_per_step)},
          {"estimate", OrNull(c.estimate)},
          {"uplink_mbps", OrNull(c.fleet.uplink_mbps)},
          {"downlink_mbps", OrNull(c.fleet.downlink_mbps)},
          {"latency_ms", OrNull(c.fleet.latency_ms)},
          {"examples", OrNull(c.fleet.examples)},
          {"joined", OrNull(c.joined)},
          {"vanished", OrNull(c.vanished)},
          {"arrived", c.arrived},
          {"late", c.late},
          {"lost", c.lost},
          {"utilisation", OrNull(c.utilisation)},
          {"mean_staleness", OrNull(c.mean_staleness)}};
}

const char* EndName(const OrderSpan& order) {
  if (order.end == OrderSpan::End::kLost) return "lost";
  if (order.end == OrderSpan::End::kRunning) return "running";
  return order.late() ? "late" : "arrived";
}

// [row, from, to, end, group, id, steps, deadline]: the page's Gantt chart.
Json OrderJson(size_t row, const OrderSpan& order) {
  return {row,         order.from, order.to,          EndName(order),
          order.group, order.id,   order.local_steps, OrNull(order.deadline)};
}

Json TimelineJson(const RunHistory& history, const std::vector<ClientFigures>& clients,
                  const ReportLimits& limits, Notes& notes) {
  const std::vector<size_t> shown = ShownClients(clients, limits);
  Json rows = Json::array(), orders = Json::array(), waits = Json::array();
  size_t total = 0;
  for (const size_t i : shown) {
    const ClientFigures& client = clients[i];
    const size_t row = rows.size();
    rows.push_back(ClientJson(client));
    total += client.orders.size();
    for (const size_t order : client.orders) {
      if (orders.size() < limits.orders) orders.push_back(OrderJson(row, history.orders[order]));
    }
    for (const Interval& wait : client.waits) {
      if (waits.size() <= limits.orders) waits.push_back({row, wait.from, wait.to});
    }
  }
  if (shown.size() < clients.size()) {
    notes.push_back(absl::StrCat("Timeline and table show ", shown.size(), " of ", clients.size(),
                                 " clients, evenly over their speeds; every other figure is of "
                                 "all clients."));
  }
  if (orders.size() < total) {
    notes.push_back(absl::StrCat("The timeline shows the first ", orders.size(), " of ", total,
                                 " work orders."));
  }
  return {{"clients", std::move(rows)}, {"orders", std::move(orders)}, {"waits", std::move(waits)}};
}

Json PublicationsJson(const RunHistory& history, const ReportLimits& limits) {
  Json list = Json::array();
  for (const size_t i : Thinned(history.publications.size(), limits.versions)) {
    const Publication& p = history.publications[i];
    list.push_back({p.at, p.version, p.group, p.updates});
  }
  return list;
}

// [dispatched, estimate / truth] of each order that has both.
Json EstimatesJson(const RunHistory& history, const std::vector<ClientFigures>& clients,
                   const Fleet& fleet, const ReportLimits& limits, Notes& notes) {
  absl::flat_hash_map<std::string, double> usual;
  for (const ClientFigures& client : clients) {
    if (client.seconds_per_step) usual[client.id] = *client.seconds_per_step;
  }
  std::vector<std::pair<double, double>> all;
  for (const OrderSpan& order : history.orders) {
    const std::string& client = history.clients[order.client].id;
    const double truth = fleet.SecondsPerStep(client, order.from).value_or(usual[client]);
    const auto estimate = EstimatedSecondsPerStep(order);
    if (estimate && truth > 0) all.emplace_back(order.from, *estimate / truth);
  }
  Json list = Json::array();
  for (const size_t i : Thinned(all.size(), limits.estimates)) {
    list.push_back({all[i].first, all[i].second});
  }
  if (list.size() < all.size()) {
    notes.push_back(
        absl::StrCat("Speed estimates show ", list.size(), " of ", all.size(), " work orders."));
  }
  return list;
}

Json HistogramJson(const std::map<int64_t, int64_t>& counts, const ReportLimits& limits) {
  Json bins = Json::array();
  for (const Bin& bin : Histogram(counts, static_cast<int64_t>(limits.histogram_bins))) {
    bins.push_back({bin.from, bin.to, bin.count});
  }
  return bins;
}

absl::Status AddHistory(const std::string& dir, const ReportLimits& limits, Json& data,
                        Notes& notes) {
  const auto history = ReadHistory(absl::StrCat(dir, "/events.jsonl"));
  if (absl::IsNotFound(history.status())) {
    notes.emplace_back("There is no events.jsonl: no timeline, histograms or job file.");
    return absl::OkStatus();
  }
  if (!history.ok()) return history.status();
  TRIB_ASSIGN_OR_RETURN(const Fleet fleet, ReadFleet(absl::StrCat(dir, "/fleet.json")));
  const std::vector<ClientFigures> clients = FiguresOfClients(*history, fleet);
  data["job"] = history->header["job"];
  data["clients"] = clients.size();
  data["seconds"] = history->seconds;
  data["timeline"] = TimelineJson(*history, clients, limits, notes);
  data["publications"] = PublicationsJson(*history, limits);
  data["staleness"] = HistogramJson(history->staleness, limits);
  data["local_steps"] = HistogramJson(history->local_steps, limits);
  data["estimates"] = EstimatesJson(*history, clients, fleet, limits, notes);
  data["truth"] = fleet.clients.empty() ? "measured" : "drawn";
  data["lost"] = history->lost;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> RunReportData(const std::string& dir, const ReportLimits& limits) {
  TRIB_ASSIGN_OR_RETURN(Json summary, ReadJsonObject(absl::StrCat(dir, "/summary.json")));
  Notes notes;
  TRIB_ASSIGN_OR_RETURN(const MetricsTable metrics, ReadMetrics(absl::StrCat(dir, "/metrics.csv")));
  if (metrics.rows.empty()) notes.emplace_back("There is no metrics.csv: no curves.");
  if (metrics.rows.size() > limits.versions) {
    notes.push_back(
        absl::StrCat("Curves show ", limits.versions, " of ", metrics.rows.size(), " versions."));
  }
  Json data = {{"kind", "run"},
               {"summary", std::move(summary)},
               {"metrics", MetricsJson(metrics, limits.versions)}};
  TRIB_RETURN_IF_ERROR(AddHistory(dir, limits, data, notes));
  data["notes"] = notes;
  return data;
}

absl::StatusOr<std::string> RunReport(const std::string& dir) {
  TRIB_ASSIGN_OR_RETURN(const Json data, RunReportData(dir));
  const Json& summary = data["summary"];
  const auto name = summary.find("name");
  return MakePage(
      absl::StrCat(name != summary.end() && name->is_string() ? name->get<std::string>() : dir,
                   ": run report"),
      data);
}

absl::Status WritePage(absl::string_view html, const std::string& path) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << html;
  file.close();
  if (!file) return absl::PermissionDeniedError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace tributary::report
