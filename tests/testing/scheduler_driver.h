// SchedulerDriver: plays the host and a fleet of virtual clients for one scheduler, in
// virtual time, and checks every decision against the contract of schedulers/scheduler.h.
//
//   SchedulerDriver driver({.clients = 30, .dropout = 0.1}, *scheduler);
//   driver.Run(2000);
//   EXPECT_THAT(driver.violations(), IsEmpty());
//   EXPECT_GT(driver.version(), 10);
//
// A client checks in, works for its time, and its order ends in an update or a loss; idle
// clients come and go. Everything is drawn from `seed`, so a run can be repeated; log() can
// be played to another scheduler with Replay.
#ifndef TRIBUTARY_TESTS_TESTING_SCHEDULER_DRIVER_H_
#define TRIBUTARY_TESTS_TESTING_SCHEDULER_DRIVER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/rng.h"
#include "schedulers/scheduler.h"

namespace tributary::test {

// One line of text, equal for equal decisions.
std::string ToText(const Decision& decision);

struct FleetOptions {
  int64_t clients = 30;
  uint64_t seed = 1;
  double dropout = 0.1;     // share of work orders that are lost
  double departure = 0.1;   // share of check-ins and updates after which it leaves for a while
  double vanishing = 0.0;   // share of lost orders after which the client never comes back
  double held_back = 0.05;  // share of updates after which the client may not go on at once
  double slowness = 10;     // the slowest client takes this many times as long as the fastest
  bool slow_publishing = false;
};

// Thread-compatible.
class SchedulerDriver {
 public:
  struct Entry {
    SchedulerEvent event;
    Decision decision;
  };

  // `scheduler` is fresh and outlives this.
  SchedulerDriver(const FleetOptions& options, Scheduler& scheduler);

  // Delivers up to `events` events; fewer if nothing is left to happen.
  void Run(int64_t events);

  const std::vector<Entry>& log() const { return log_; }
  // What the scheduler did against its contract, in words.
  const std::vector<std::string>& violations() const { return violations_; }
  Version version() const { return version_; }
  int64_t accepted() const { return static_cast<int64_t>(accepted_.size()); }
  int64_t closed() const { return closed_; }
  int64_t dropped() const { return dropped_; }

 private:
  struct Client {
    absl::Duration seconds_per_step;
    bool available = false;
    bool checked_out = false;
    bool gone = false;
    std::optional<WorkOrderId> order;
  };
  // Events of one instant come in this order; see the contract.
  enum Priority { kAnswer, kPresence, kTimer };
  struct When {
    absl::Time at;
    int priority = 0;
    int64_t sequence = 0;
    bool operator==(const When&) const = default;
    bool operator<(const When& other) const {
      return std::tie(at, priority, sequence) < std::tie(other.at, other.priority, other.sequence);
    }
  };

  void Push(absl::Time at, Priority priority, SchedulerEvent event);
  void Deliver(const SchedulerEvent& event);
  bool Happens(const SchedulerEvent& event);  // false: overtaken by something else
  void Obey(const Decision& decision);
  void ObeyClose(const Close& close);
  void ObeyDispatch(const Dispatch& dispatch);
  void Publish();
  void PlanReturn(const ClientId& client, absl::Duration after);
  void Settle(WorkOrderId update, const char* verb);
  void Violation(std::string what);

  const FleetOptions options_;
  Scheduler& scheduler_;
  Rng rng_;
  absl::Time now_ = absl::UnixEpoch();
  int64_t sequence_ = 0;
  std::map<When, SchedulerEvent> queue_;
  std::optional<When> timer_;  // its key in the queue
  int64_t timers_in_a_row_ = 0;
  std::map<ClientId, Client> clients_;
  WorkOrderId next_order_ = 1;
  std::set<WorkOrderId> accepted_, settled_;
  std::set<GroupId> closed_groups_;
  std::vector<GroupId> publishing_;  // closed, not yet published
  Version version_ = 0;
  int64_t closed_ = 0, dropped_ = 0;
  std::vector<Entry> log_;
  std::vector<std::string> violations_;
};

// The decisions of `scheduler` for these events from number `first` on, as text.
std::vector<std::string> Replay(const std::vector<SchedulerDriver::Entry>& log, size_t first,
                                size_t last, Scheduler& scheduler);
std::vector<std::string> Decisions(const std::vector<SchedulerDriver::Entry>& log, size_t first,
                                   size_t last);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_SCHEDULER_DRIVER_H_
