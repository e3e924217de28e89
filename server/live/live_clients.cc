// Clients: enrolment, long-polled check-ins, signs of life.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "server/live/live_host.h"

namespace tributary {

// ---- the client table ------------------------------------------------------------------

void LiveHost::Enroll(Enrolment enrolment, DoneCallback done) {
  if (draining_) return done(absl::UnavailableError("the server is shutting down"));
  const absl::Time now = deps_.clock->Now();
  const auto [it, is_new] = clients_.try_emplace(enrolment.client);
  ClientRecord& record = it->second.record;
  if (is_new) {
    record.id = enrolment.client;
    record.enrolled_at = now;
    log::Info("client enrolled", {{"client", record.id.value()}, {"agent", enrolment.user_agent}});
  }
  record.user_agent = std::move(enrolment.user_agent);
  record.evaluate_only = enrolment.evaluate_only;
  record.last_seen_at = now;
  disk_.Run([store = deps_.store, loop = deps_.loop, record, done = std::move(done)]() mutable {
    loop->Post(
        [status = store->PutClient(record), done = std::move(done)]() mutable { done(status); });
  });
}

absl::StatusOr<LiveHost::Client*> LiveHost::Enrolled(const ClientId& client) {
  const auto it = clients_.find(client);
  if (it == clients_.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("client '", client.value(), "' has not enrolled: call Enroll first"));
  }
  it->second.record.last_seen_at = deps_.clock->Now();
  return &it->second;
}

void LiveHost::Save(const Client& client) {
  OnDisk([record = client.record](ModelStore& store) { return store.PutClient(record); });
}

std::vector<ClientView> LiveHost::ListClients() const {
  std::vector<ClientView> all;
  for (const auto& [id, client] : clients_) all.push_back(*GetClient(id));
  return all;
}

absl::StatusOr<ClientView> LiveHost::GetClient(const ClientId& id) const {
  const auto it = clients_.find(id);
  if (it == clients_.end()) {
    return absl::NotFoundError(absl::StrCat("no client is called '", id.value(), "'"));
  }
  const Client& client = it->second;
  const bool working = !client.orders.empty() && !client.poll;
  const bool near = client.poll || client.grace_timer != 0;
  return ClientView{client.record, working ? "working" : near ? "idle" : "away"};
}

// ---- check-ins -------------------------------------------------------------------------

LiveHost::PollId LiveHost::CheckIn(const ClientId& id, absl::Duration max_wait,
                                   Callback<CheckInAnswer> done) {
  const PollId poll = next_poll_++;
  const auto enrolled = Enrolled(id);
  if (!enrolled.ok()) {
    done(enrolled.status());
    return poll;
  }
  Client& client = **enrolled;
  if (draining_) {
    done(CheckInAnswer(Pace()));
    return poll;
  }
  AnswerPoll(client, CheckInAnswer(Pace()));  // an older one: the newest call counts
  // Idle, so what it had begun is lost, unless all of it is here already and being verified.
  for (const auto& [job_id, order] : std::deque(client.orders)) {
    LiveJob& job = *FindJob(job_id);
    if (!job.orders.at(order).confirmed || verifying_.contains({job_id, order})) continue;
    Fail(job, order, LossCause::kAbandoned, "the client checked in without having finished it");
  }
  deps_.loop->Cancel(std::exchange(client.grace_timer, 0));
  client.poll = Poll{.id = poll, .timer = 0, .done = std::move(done)};
  Give(client);
  Announce(client);
  if (!client.poll) return poll;
  const absl::Duration wait = std::clamp(max_wait, absl::ZeroDuration(), options_.max_wait);
  const auto expire = [this, id, poll] {
    Client& waiting = clients_.at(id);
    if (waiting.poll && waiting.poll->id == poll) AnswerPoll(waiting, CheckInAnswer(Pace()));
  };
  if (wait > absl::ZeroDuration()) {
    client.poll->timer = deps_.loop->PostAt(deps_.clock->Now() + wait, expire);
  } else {
    journal_.AfterCommit(expire);  // behind the work that the announcement may have brought
  }
  return poll;
}

void LiveHost::CancelCheckIn(const ClientId& id, PollId poll) {
  const auto it = clients_.find(id);
  if (it == clients_.end() || !it->second.poll || it->second.poll->id != poll) return;
  deps_.loop->Cancel(it->second.poll->timer);
  it->second.poll.reset();
  ArmGrace(it->second, options_.grace);
}

void LiveHost::AnswerPoll(Client& client, CheckInAnswer answer) {
  if (!client.poll) return;
  Poll poll = *std::exchange(client.poll, std::nullopt);
  deps_.loop->Cancel(poll.timer);
  if (const auto* retry = std::get_if<RetryWindow>(&answer)) {
    ArmGrace(client, retry->max_delay + options_.grace);
  }
  poll.done(std::move(answer));
}

RetryWindow LiveHost::Pace() const {
  const double fleet = static_cast<double>(clients_.size()) / options_.check_ins_per_second;
  const absl::Duration longest = options_.retry_min + absl::Seconds(fleet);
  return {options_.retry_min, std::max(options_.retry_max, longest)};
}

// A client that is between calls has until then to come back.
void LiveHost::ArmGrace(Client& client, absl::Duration wait) {
  deps_.loop->Cancel(client.grace_timer);
  client.grace_timer = deps_.loop->PostAt(deps_.clock->Now() + wait, [this, id = client.record.id] {
    Client& gone = clients_.at(id);
    gone.grace_timer = 0;
    for (auto& [job_id, job] : jobs_) {
      if (job->presence.erase(id) > 0) Feed(*job, event::ClientGone{id});
    }
  });
}

// ---- offering clients to jobs ----------------------------------------------------------

// To the jobs that have the fewest orders out first, until one takes it.
void LiveHost::Announce(Client& client) {
  if (draining_ || !client.poll || !client.orders.empty()) return;
  std::vector<LiveJob*> running;
  for (auto& [id, job] : jobs_) {
    if (!job->ended()) running.push_back(job.get());
  }
  std::stable_sort(running.begin(), running.end(), [](const LiveJob* a, const LiveJob* b) {
    return a->orders.size() < b->orders.size();
  });
  for (LiveJob* job : running) {
    if (!client.orders.empty()) return;
    bool& announced = job->presence[client.record.id];
    if (std::exchange(announced, true)) continue;
    Feed(*job, event::ClientAvailable{client.record.id, client.record.evaluate_only});
  }
}

void LiveHost::AnnounceAll() {
  for (auto& [id, client] : clients_) Announce(client);
}

void LiveHost::Give(Client& client) {
  if (!client.poll || client.orders.empty()) return;
  const auto& [job_id, id] = client.orders.front();
  LiveJob& job = *FindJob(job_id);
  LiveOrder& order = job.orders.at(id);
  if (!order.durable || verifying_.contains({job_id, id})) return;
  order.given = true;
  const JobSpec& spec = job.controller->spec();
  ExpectSign(job_id, order, spec.liveness_seconds);
  AnswerPoll(client, WorkItem{.job = job_id,
                              .order = order.order,
                              .job_name = spec.name,
                              .model_json = job.model_json,
                              .train_json = job.train_json,
                              .codec_json = job.codec_json,
                              .liveness = spec.liveness_seconds});
}

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
                           const std::string& message, DoneCallback done) {
  const auto enrolled = Enrolled(client);
  if (!enrolled.ok()) return done(enrolled.status());
  const auto job = RequireJob(job_id);
  if (!job.ok()) return done(job.status());
  if (Confirm(**job, client, order) != nullptr && !verifying_.contains({job_id, order})) {
    Fail(**job, order, LossCause::kAbandoned, message);
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
  if (!std::isfinite(result.loss) || !std::isfinite(result.accuracy)) {
    return refuse(LossCause::kNotFinite, "loss and accuracy must be finite");
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
