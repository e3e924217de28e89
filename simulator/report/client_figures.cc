#include "simulator/report/client_figures.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "absl/types/span.h"
#include "simulator/report/spread.h"

namespace tributary::report {
namespace {

std::optional<double> MeasuredSecondsPerStep(const RunHistory& history,
                                             const std::vector<size_t>& orders) {
  std::vector<std::optional<double>> seconds;
  for (const size_t index : orders) {
    const OrderSpan& order = history.orders[index];
    if (order.end != OrderSpan::End::kArrived || order.local_steps <= 0) continue;
    seconds.emplace_back((order.to - order.from) / static_cast<double>(order.local_steps));
  }
  return SpreadOf(seconds).median;
}

// Presence ends where the fleet says that the client vanished, whatever the server noticed.
std::vector<Interval> PresenceUntil(absl::Span<const Interval> present, double vanished) {
  std::vector<Interval> kept;
  for (const Interval& interval : present) {
    if (interval.from < vanished) kept.push_back({interval.from, std::min(interval.to, vanished)});
  }
  return kept;
}

// The parts of `present` that no order covers. Both ascend; orders of a client do not overlap.
std::vector<Interval> Waits(absl::Span<const Interval> present, const RunHistory& history,
                            const std::vector<size_t>& orders) {
  std::vector<Interval> waits;
  for (const Interval& interval : present) {
    double free_since = interval.from;
    for (const size_t index : orders) {
      const OrderSpan& order = history.orders[index];
      if (order.to <= free_since) continue;
      if (order.from >= interval.to) break;
      if (order.from > free_since) waits.push_back({free_since, order.from});
      free_since = order.to;
    }
    if (free_since < interval.to) waits.push_back({free_since, interval.to});
  }
  return waits;
}

double Length(absl::Span<const Interval> intervals) {
  double sum = 0;
  for (const Interval& interval : intervals) sum += interval.to - interval.from;
  return sum;
}

void CountOrders(const RunHistory& history, ClientFigures& figures) {
  for (const size_t index : figures.orders) {
    const OrderSpan& order = history.orders[index];
    if (order.end == OrderSpan::End::kArrived) ++figures.arrived;
    if (order.end == OrderSpan::End::kLost) ++figures.lost;
    if (order.late()) ++figures.late;
    if (const auto estimate = EstimatedSecondsPerStep(order)) figures.estimate = estimate;
  }
}

ClientFigures FiguresOf(const ClientHistory& client, const RunHistory& history,
                        const Fleet& fleet) {
  ClientFigures figures = {.id = client.id, .fleet = {}, .orders = client.orders, .waits = {}};
  if (const auto it = fleet.clients.find(client.id); it != fleet.clients.end()) {
    figures.fleet = it->second;
  }
  figures.seconds_per_step = figures.fleet.seconds_per_step;
  if (!figures.seconds_per_step) {
    figures.seconds_per_step = MeasuredSecondsPerStep(history, client.orders);
  }
  CountOrders(history, figures);
  if (client.applied > 0) {
    figures.mean_staleness =
        static_cast<double>(client.staleness_sum) / static_cast<double>(client.applied);
  }

  const std::vector<Interval> present = PresenceUntil(
      client.present,
      figures.fleet.vanishes_at_seconds.value_or(std::numeric_limits<double>::infinity()));
  if (!present.empty()) {
    figures.joined = present.front().from;
    if (present.back().to < history.seconds) figures.vanished = present.back().to;
  }
  figures.waits = Waits(present, history, client.orders);
  if (const double length = Length(present); length > 0) {
    figures.utilisation = 1 - Length(figures.waits) / length;
  }
  return figures;
}

}  // namespace

std::vector<ClientFigures> FiguresOfClients(const RunHistory& history, const Fleet& fleet) {
  std::vector<ClientFigures> all;
  all.reserve(history.clients.size());
  for (const ClientHistory& client : history.clients) {
    all.push_back(FiguresOf(client, history, fleet));
  }
  std::sort(all.begin(), all.end(), [](const ClientFigures& a, const ClientFigures& b) {
    constexpr double kUnknown = std::numeric_limits<double>::infinity();
    return std::forward_as_tuple(a.seconds_per_step.value_or(kUnknown), a.id) <
           std::forward_as_tuple(b.seconds_per_step.value_or(kUnknown), b.id);
  });
  return all;
}

std::optional<double> EstimatedSecondsPerStep(const OrderSpan& order) {
  if (!order.expected || order.local_steps <= 0) return std::nullopt;
  return (*order.expected - order.from) / static_cast<double>(order.local_steps);
}

std::vector<Bin> Histogram(const std::map<int64_t, int64_t>& counts, int64_t max_bins) {
  if (counts.empty()) return {};
  const int64_t least = counts.begin()->first;
  const int64_t greatest = counts.rbegin()->first;
  const int64_t width = (greatest - least) / max_bins + 1;
  std::vector<Bin> bins(static_cast<size_t>((greatest - least) / width + 1));
  for (size_t i = 0; i < bins.size(); ++i) {
    bins[i].from = least + static_cast<int64_t>(i) * width;
    bins[i].to = i + 1 == bins.size() ? greatest : bins[i].from + (width - 1);
  }
  for (const auto& [value, count] : counts) {
    bins[static_cast<size_t>((value - least) / width)].count += count;
  }
  return bins;
}

}  // namespace tributary::report
