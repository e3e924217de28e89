#include "tests/testing/scheduler_driver.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace tributary::test {
namespace {

constexpr int64_t kDefaultSteps = 20;
constexpr absl::Duration kFastestStep = absl::Milliseconds(100);
constexpr absl::Duration kLiveness = absl::Seconds(90);  // until a lost order is known to be lost

std::string Nanos(absl::Time t) { return absl::StrCat(absl::ToUnixNanos(t)); }

}  // namespace

std::string ToText(const Decision& decision) {
  std::string text;
  for (const Close& c : decision.close) {
    absl::StrAppend(&text, "close ", c.group, " [", absl::StrJoin(c.updates, " "), "]",
                    c.coefficients.empty() ? "" : " weighing ", absl::StrJoin(c.coefficients, " "),
                    c.mix_models ? " mixing" : "", c.beside_momentum ? " beside momentum" : "",
                    "; ");
  }
  for (const Dispatch& d : decision.dispatch) {
    absl::StrAppend(&text, "dispatch ", d.client.value(), " group ", d.group, " steps ",
                    d.local_steps.value_or(-1), " until ", Nanos(d.deadline), "; ");
  }
  if (!decision.drop.empty()) {
    absl::StrAppend(&text, "drop [", absl::StrJoin(decision.drop, " "), "]; ");
  }
  if (decision.wake_at) absl::StrAppend(&text, "wake at ", Nanos(*decision.wake_at));
  return text;
}

SchedulerDriver::SchedulerDriver(const FleetOptions& options, Scheduler& scheduler)
    : options_(options), scheduler_(scheduler), rng_(Rng(options.seed).Split("fleet")) {
  for (int64_t i = 0; i < options_.clients; ++i) {
    const ClientId id(absl::StrFormat("c%03d", i));
    const double slowness = rng_.Uniform(1.0, std::max(1.001, options_.slowness));
    clients_[id].seconds_per_step = kFastestStep * slowness;
    PlanReturn(id, absl::Milliseconds(rng_.UniformInt(20) * 100));
  }
}

void SchedulerDriver::Run(int64_t events) {
  while (events > 0 && !queue_.empty()) {
    const auto next = queue_.begin();
    const SchedulerEvent event = next->second;
    if (timer_ == next->first) timer_.reset();
    queue_.erase(next);
    now_ = event.at;
    if (!Happens(event)) continue;
    Deliver(event);
    --events;
  }
}

void SchedulerDriver::Push(absl::Time at, Priority priority, SchedulerEvent event) {
  event.at = at;
  queue_.emplace(When{at, priority, sequence_++}, std::move(event));
}

void SchedulerDriver::PlanReturn(const ClientId& client, absl::Duration after) {
  Push(now_ + after, kPresence, {.at = {}, .what = CheckIn{client}});
}

bool SchedulerDriver::Happens(const SchedulerEvent& event) {
  if (const auto* in = std::get_if<CheckIn>(&event.what)) {
    Client& client = clients_[in->client];
    if (client.order || client.gone) return false;
    client.available = true;
    client.checked_out = false;
    if (rng_.Bernoulli(options_.departure)) {
      Push(now_ + absl::Milliseconds(rng_.UniformInt(20000)), kPresence,
           {.at = {}, .what = CheckOut{in->client}});
    }
  } else if (const auto* out = std::get_if<CheckOut>(&event.what)) {
    Client& client = clients_[out->client];
    client.available = false;
    client.checked_out = true;
    if (!client.order) PlanReturn(out->client, absl::Milliseconds(rng_.UniformInt(60000)));
  } else if (const auto* update = std::get_if<UpdateAccepted>(&event.what)) {
    accepted_.insert(update->work_order);
    Client& client = clients_[update->client];
    client.order.reset();
    client.available = update->available;
    client.checked_out = false;
    if (!update->available) {
      PlanReturn(update->client, absl::Milliseconds(rng_.UniformInt(60000)));
    } else if (rng_.Bernoulli(options_.departure)) {
      Push(now_ + absl::Milliseconds(rng_.UniformInt(5000)), kPresence,
           {.at = {}, .what = CheckOut{update->client}});
    } else {
      PlanReturn(update->client, absl::ZeroDuration());
    }
  } else if (const auto* lost = std::get_if<WorkLost>(&event.what)) {
    Client& client = clients_[lost->client];
    client.order.reset();
    client.gone = rng_.Bernoulli(options_.vanishing);
    PlanReturn(lost->client, absl::Milliseconds(rng_.UniformInt(5000)));
  }
  return true;
}

void SchedulerDriver::Deliver(const SchedulerEvent& event) {
  timers_in_a_row_ = std::holds_alternative<TimerFired>(event.what) ? timers_in_a_row_ + 1 : 0;
  Decision decision = scheduler_.Handle(event);
  log_.push_back({event, decision});
  Obey(decision);
  if (!publishing_.empty()) Publish();
}

void SchedulerDriver::Obey(const Decision& decision) {
  for (const Close& close : decision.close) ObeyClose(close);
  for (const Dispatch& dispatch : decision.dispatch) ObeyDispatch(dispatch);
  for (const WorkOrderId update : decision.drop) {
    Settle(update, "drops");
    ++dropped_;
  }
  if (!decision.wake_at) return;
  if (*decision.wake_at < now_) Violation("wakes in the past");
  if (timers_in_a_row_ > 10 && *decision.wake_at <= now_) return Violation("wakes for ever");
  if (timer_) queue_.erase(*timer_);
  timer_ = When{std::max(now_, *decision.wake_at), kTimer, sequence_};
  Push(timer_->at, kTimer, {.at = {}, .what = TimerFired{}});
}

void SchedulerDriver::ObeyClose(const Close& close) {
  if (close.updates.empty()) Violation("closes a group without updates");
  if (!closed_groups_.insert(close.group).second) Violation("closes a group twice");
  if (std::adjacent_find(close.updates.begin(), close.updates.end(), std::greater_equal<>()) !=
      close.updates.end()) {
    Violation("closes updates that are not ascending");
  }
  if (!close.coefficients.empty() && close.coefficients.size() != close.updates.size()) {
    Violation("has not one coefficient for each update");
  }
  for (const double coefficient : close.coefficients) {
    if (!std::isfinite(coefficient) || coefficient < 0) Violation("sets a bad coefficient");
  }
  if (close.coefficients.empty() == scheduler_.SetsCoefficients()) {
    Violation("sets coefficients or does not, against its word");
  }
  for (const WorkOrderId update : close.updates) {
    Settle(update, "closes");
    ++closed_;
  }
  publishing_.push_back(close.group);
}

void SchedulerDriver::ObeyDispatch(const Dispatch& dispatch) {
  const auto found = clients_.find(dispatch.client);
  if (found == clients_.end()) return Violation("dispatches to a client that nobody knows");
  Client& client = found->second;
  if (client.order) return Violation("dispatches to a client that has an order");
  if (client.checked_out) return Violation("dispatches to a client that has checked out");
  if (!client.available) return Violation("dispatches to a client that is not available");
  if (closed_groups_.contains(dispatch.group)) Violation("dispatches into a closed group");
  if (dispatch.local_steps.value_or(1) < 1) Violation("dispatches fewer steps than one");
  if (dispatch.deadline < now_) Violation("dispatches with a deadline in the past");
  if (dispatch.expected_at.value_or(now_) < now_) Violation("expects an update in the past");

  const WorkOrderId id = next_order_++;
  const int64_t steps = dispatch.local_steps.value_or(kDefaultSteps);
  // Published comes before the work is sent, so the base is the version after all closes.
  const Version base = version_ + static_cast<Version>(publishing_.size());
  client.available = false;
  client.order = id;
  if (rng_.Bernoulli(options_.dropout)) {
    Push(now_ + kLiveness, kAnswer,
         {.at = {}, .what = WorkLost{dispatch.client, id, dispatch.group}});
    return;
  }
  const absl::Duration work =
      client.seconds_per_step * static_cast<double>(steps) * rng_.Uniform(0.9, 1.1);
  const absl::Time arrival = absl::FromUnixNanos(absl::ToUnixNanos(now_ + work));
  Push(arrival, kAnswer,
       {.at = {},
        .what = UpdateAccepted{.client = dispatch.client,
                               .work_order = id,
                               .group = dispatch.group,
                               .dispatched_at = now_,
                               .arrived_at = arrival,
                               .local_steps = steps,
                               .num_examples = 1 + rng_.UniformInt(100),
                               .base_version = base,
                               .available = !rng_.Bernoulli(options_.held_back)}});
}

// What would have happened while a version is made happens when it is published.
void SchedulerDriver::Publish() {
  if (options_.slow_publishing) {
    const absl::Time done = now_ + absl::Milliseconds(rng_.UniformInt(5000));
    std::map<When, SchedulerEvent> later;
    for (auto& [when, event] : queue_) {
      When moved = when;
      moved.at = std::max(when.at, done);
      event.at = moved.at;
      if (timer_ == when) timer_ = moved;
      later.emplace(moved, event);
    }
    queue_ = std::move(later);
    now_ = done;
  }
  const std::vector<GroupId> groups = std::exchange(publishing_, {});
  for (const GroupId group : groups) {
    Deliver({.at = now_, .what = Published{.group = group, .version = ++version_}});
  }
}

void SchedulerDriver::Settle(WorkOrderId update, const char* verb) {
  if (!accepted_.contains(update)) {
    Violation(absl::StrCat(verb, " update ", update, ", which was never accepted"));
  } else if (!settled_.insert(update).second) {
    Violation(absl::StrCat(verb, " update ", update, ", which was closed or dropped before"));
  }
}

void SchedulerDriver::Violation(std::string what) {
  violations_.push_back(
      absl::StrCat("event ", log_.size(), " at ", Nanos(now_), ": ", std::move(what)));
}

std::vector<std::string> Replay(const std::vector<SchedulerDriver::Entry>& log, size_t first,
                                size_t last, Scheduler& scheduler) {
  std::vector<std::string> decisions;
  for (size_t i = first; i < last; ++i) decisions.push_back(ToText(scheduler.Handle(log[i].event)));
  return decisions;
}

std::vector<std::string> Decisions(const std::vector<SchedulerDriver::Entry>& log, size_t first,
                                   size_t last) {
  std::vector<std::string> decisions;
  for (size_t i = first; i < last; ++i) decisions.push_back(ToText(log[i].decision));
  return decisions;
}

}  // namespace tributary::test
