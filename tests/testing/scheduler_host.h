// SchedulerHost: speaks to one scheduler as a host does, event by event, for tests that tell a
// story: it numbers work orders and versions. Random stories: scheduler_driver.h.
//
//   SchedulerHost host(FedBuffScheduler::Create(options, {.rng = Rng(1)}).value());
//   host.In(0, "a");
//   EXPECT_THAT(SchedulerHost::Names(host.Timer(0)), ElementsAre("a"));
//   EXPECT_THAT(host.Update(5, "a").close, SizeIs(1));
//   host.Publish(6);
#ifndef TRIBUTARY_TESTS_TESTING_SCHEDULER_HOST_H_
#define TRIBUTARY_TESTS_TESTING_SCHEDULER_HOST_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "schedulers/scheduler.h"

namespace tributary::test {

// Seconds since the host's beginning.
inline absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

// Thread-compatible.
class SchedulerHost {
 public:
  struct Order {
    WorkOrderId id = 0;
    GroupId group = 0;
    Version base = 0;
    absl::Time since;
  };
  struct Report {
    int64_t examples = 1;
    bool available = false;
  };

  explicit SchedulerHost(std::unique_ptr<Scheduler> scheduler) : scheduler_(std::move(scheduler)) {}

  Decision Send(double at, decltype(SchedulerEvent::what) what) {
    Decision decision = scheduler_->Handle({At(at), std::move(what)});
    for (const Close& close : decision.close) unpublished_.push_back(close.group);
    const auto base = version_ + static_cast<Version>(unpublished_.size());
    for (const Dispatch& d : decision.dispatch) {
      orders_[d.client.value()] = {++last_order_, d.group, base, At(at)};
    }
    return decision;
  }
  Decision In(double at, const std::string& client) { return Send(at, CheckIn{ClientId(client)}); }
  Decision Out(double at, const std::string& client) {
    return Send(at, CheckOut{ClientId(client)});
  }
  Decision Timer(double at) { return Send(at, TimerFired{}); }
  Decision Update(double at, const std::string& client) { return Update(at, client, Report{}); }
  Decision Update(double at, const std::string& client, const Report& report) {
    const Order& order = orders_.at(client);
    return Send(at, UpdateAccepted{.client = ClientId(client),
                                   .work_order = order.id,
                                   .group = order.group,
                                   .dispatched_at = order.since,
                                   .arrived_at = At(at),
                                   .local_steps = 1,
                                   .num_examples = report.examples,
                                   .base_version = order.base,
                                   .available = report.available});
  }
  Decision Lost(double at, const std::string& client) {
    const Order& order = orders_.at(client);
    return Send(at, WorkLost{ClientId(client), order.id, order.group});
  }
  // The oldest close that is not published yet.
  Decision Publish(double at) {
    const GroupId group = unpublished_.front();
    unpublished_.pop_front();
    return Send(at, Published{.group = group, .version = ++version_});
  }
  // Clients "a", "b", … check in, and the timer fires. Who was given work.
  std::vector<std::string> Start(double at, int clients) {
    for (int i = 0; i < clients; ++i) In(at, std::string(1, static_cast<char>('a' + i)));
    return Names(Timer(at));
  }

  static std::vector<std::string> Names(const Decision& decision) {
    std::vector<std::string> names;
    for (const Dispatch& d : decision.dispatch) names.push_back(d.client.value());
    return names;
  }
  const Order& OrderOf(const std::string& client) const { return orders_.at(client); }
  int64_t Stat(const char* name) const { return scheduler_->Stats().at(name).get<int64_t>(); }
  Version version() const { return version_; }
  Scheduler& scheduler() { return *scheduler_; }

 private:
  std::unique_ptr<Scheduler> scheduler_;
  std::map<std::string, Order> orders_;  // each client's last
  WorkOrderId last_order_ = 0;
  Version version_ = 0;
  std::deque<GroupId> unpublished_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_SCHEDULER_HOST_H_
