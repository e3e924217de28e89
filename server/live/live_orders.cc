// Work orders that are out: signs of life, results of evaluations, their ends.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "server/live/live_host.h"

namespace tributary {

// ---- signs of life ---------------------------------------------------------------------

LiveOrder* LiveHost::Confirm(LiveJob& job, const ClientId& client, WorkOrderId id) {
  const auto it = job.orders.find(id);
  if (it == job.orders.end() || it->second.order.client != client || !it->second.durable) {
    return nullptr;
  }
  it->second.confirmed = true;
  it->second.last_sign = deps_.clock->Now();
  return &it->second;
}

void LiveHost::ExpectSign(const JobId& job, LiveOrder& order, absl::Duration patience) {
  order.last_sign = deps_.clock->Now();
  order.patience = patience;
  deps_.loop->Cancel(order.timer);
  order.timer = deps_.loop->PostAt(order.last_sign + patience,
                                   [this, job, id = order.order.id] { CheckAlive(job, id); });
}

void LiveHost::CheckAlive(const JobId& job_id, WorkOrderId id) {
  LiveJob& job = *FindJob(job_id);
  LiveOrder& order = job.orders.at(id);
  const absl::Time now = deps_.clock->Now();
  if (order.upload) order.last_sign = std::max(order.last_sign, order.upload->last_sign());
  if (verifying_.contains({job_id, id})) order.last_sign = now;
  const absl::Time until = order.last_sign + order.patience;
  if (now < until) {
    order.timer = deps_.loop->PostAt(until, [this, job_id, id] { CheckAlive(job_id, id); });
    return;
  }
  Client& client = clients_.at(order.order.client);
  const bool given = order.given;
  Fail(job, id, LossCause::kTimedOut,
       absl::StrCat(given ? "no sign of life for " : "not fetched for ",
                    absl::FormatDuration(order.patience)));
  if (!client.poll) ArmGrace(client, options_.grace);
}

void LiveHost::ReportProgress(const ClientId& client, const JobId& job_id, WorkOrderId order,
                              Callback<bool> go_on) {
  const auto enrolled = Enrolled(client);
  if (!enrolled.ok()) return go_on(enrolled.status());
  const auto job = RequireJob(job_id);
  if (!job.ok()) return go_on(job.status());
  go_on(Confirm(**job, client, order) != nullptr);
}

void LiveHost::AbandonWork(const ClientId& client, const JobId& job_id, WorkOrderId order,
                           LossCause cause, const std::string& message, DoneCallback done) {
  const auto enrolled = Enrolled(client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto job = RequireJob(job_id);
  if (!job.ok()) return done(job.status());
  if (Confirm(**job, client, order) != nullptr && !verifying_.contains({job_id, order})) {
    Fail(**job, order, cause, message);
  }
  journal_.AfterCommit([done = std::move(done)]() mutable { done(absl::OkStatus()); });
}

void LiveHost::ReportEvaluation(const EvaluationReport& report, Callback<ReportAnswer> done) {
  const auto enrolled = Enrolled(report.client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto found = RequireJob(report.job);
  if (!found.ok()) return done(found.status());
  LiveJob& job = **found;
  const event::EvaluationArrived& result = report.result;
  const WorkOrderId id = result.work_order;
  const auto answer = [&](ReportAnswer a) {
    journal_.AfterCommit([a = std::move(a), done = std::move(done)]() mutable { done(a); });
  };
  if (const auto it = job.answered.find(id);
      it != job.answered.end() && it->second == report.client) {
    return answer({.counted = true});
  }
  const LiveOrder* order = Confirm(job, report.client, id);
  if (order == nullptr || order->order.kind != WorkKind::kEvaluate) {
    ++job.refused["unknown_work_order"];
    return answer({.message = absl::StrCat("work order ", id, " is not out to this client")});
  }
  const auto refuse = [&](LossCause cause, std::string why) {
    Fail(job, id, cause, why);
    answer({.message = std::move(why)});
  };
  if (report.version != order->order.version) {
    return refuse(LossCause::kWrongLayout, absl::StrCat("version: found ", report.version,
                                                        ", asked was ", order->order.version));
  }
  if (result.num_examples < 1) {
    return refuse(LossCause::kBadWeight,
                  absl::StrCat("num_examples: found ", result.num_examples, ", at least 1"));
  }
  const int64_t tasks = order->order.tasks;
  if (std::ssize(result.tasks) != (tasks > 1 ? tasks : 0)) {
    return refuse(LossCause::kWrongLayout,
                  absl::StrCat("tasks: found ", result.tasks.size(), ", asked were ", tasks));
  }
  const auto is_finite = [](const auto& figures) {
    return std::isfinite(figures.loss) && std::isfinite(figures.accuracy);
  };
  if (!is_finite(result) || !std::all_of(result.tasks.begin(), result.tasks.end(), is_finite)) {
    return refuse(LossCause::kNotFinite, "loss and accuracy must be finite");
  }
  const auto counts = [](const TaskResult& task) { return task.num_examples >= 1; };
  if (!std::all_of(result.tasks.begin(), result.tasks.end(), counts)) {
    return refuse(LossCause::kBadWeight, "num_examples of a task: at least 1");
  }
  job.answered[id] = report.client;
  RemoveOrder(job, id);
  Feed(job, result);
  answer({.counted = true});
}

// ---- ends of orders --------------------------------------------------------------------

void LiveHost::Fail(LiveJob& job, WorkOrderId id, LossCause cause, std::string message) {
  const ClientId client = job.orders.at(id).order.client;
  log::Info("work lost", {{"job", job.id().value()},
                          {"client", client.value()},
                          {"order", id},
                          {"cause", LossCauseName(cause)},
                          {"why", message}});
  ++clients_.at(client).record.lost;
  RemoveOrder(job, id);
  Feed(job, event::WorkFailed{id, cause, std::move(message)});
  RemoveSpooled(job.id(), {id});
}

void LiveHost::RemoveOrder(LiveJob& job, WorkOrderId id) {
  const auto it = job.orders.find(id);
  if (it == job.orders.end()) return;
  const ClientId client_id = it->second.order.client;
  Client& client = clients_.at(client_id);
  std::erase(client.orders, std::pair(job.id(), id));
  deps_.loop->Cancel(it->second.timer);
  job.orders.erase(it);
  deps_.loop->Post([this, client_id] {  // it may be waiting for this
    Client& waiting = clients_.at(client_id);
    Give(waiting);
    Announce(waiting);
  });
}

}  // namespace tributary
