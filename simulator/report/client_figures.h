// What a report says of each client, computed from a run's history and fleet.
#ifndef TRIBUTARY_SIMULATOR_REPORT_CLIENT_FIGURES_H_
#define TRIBUTARY_SIMULATOR_REPORT_CLIENT_FIGURES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "simulator/report/fleet.h"
#include "simulator/report/run_history.h"

namespace tributary::report {

struct ClientFigures {
  std::string id;
  FleetClient fleet;  // empty members where it is not known
  // The fleet's, else the median over arrived orders of duration / steps.
  std::optional<double> seconds_per_step;
  // The last order's (expected - dispatched) / steps.
  std::optional<double> estimate;
  std::optional<double> joined;          // first seen
  std::optional<double> vanished;        // the fleet's word, else when it left for the last time
  int64_t arrived = 0;                   // updates
  int64_t late = 0;                      // of these, after their deadline
  int64_t lost = 0;                      // orders that brought none
  std::optional<double> mean_staleness;  // of applied updates
  std::optional<double> utilisation;     // share of its presence with an order in hand
  std::vector<size_t> orders;            // indices into RunHistory::orders
  std::vector<Interval> waits;           // present without an order
};

// Sorted by seconds_per_step, the fastest first, clients of unknown speed last; then by id.
std::vector<ClientFigures> FiguresOfClients(const RunHistory& history, const Fleet& fleet);

// An order's predicted time a step; nothing if nothing was predicted.
std::optional<double> EstimatedSecondsPerStep(const OrderSpan& order);

// A histogram of integers.
struct Bin {
  int64_t from = 0;
  int64_t to = 0;  // inclusive
  int64_t count = 0;
  bool operator==(const Bin&) const = default;
};

// Bins of one width, without a gap, from the least value to the greatest, where the last one
// ends: of width 1 where `max_bins` allow it. Values are from 0. Empty of nothing.
std::vector<Bin> Histogram(const std::map<int64_t, int64_t>& counts, int64_t max_bins);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_CLIENT_FIGURES_H_
