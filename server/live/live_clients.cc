// Clients: enrolment, long-polled check-ins, what they are offered.
#include <algorithm>
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
                                   const ClientReport& report, Callback<CheckInAnswer> done) {
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
  if (std::exchange(client.report, report) != report) {
    // Jobs that know it as idle are told again.
    for (auto& [job_id, job] : jobs_) {
      if (const auto it = job->presence.find(id); it != job->presence.end()) it->second = false;
    }
  }
  deps_.loop->Cancel(std::exchange(client.grace_timer, 0));
  client.poll = Poll{.id = poll, .timer = 0, .done = std::move(done)};
  Give(client);
  if (const absl::Duration rest = Rest(client); rest > absl::ZeroDuration()) {
    SendAway(client, rest);
    return poll;
  }
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

// How long no running job can have work for this idle client.
absl::Duration LiveHost::Rest(const Client& client) const {
  const absl::Time now = deps_.clock->Now();
  absl::Time wanted_at = absl::InfiniteFuture();
  for (const auto& [id, job] : jobs_) {
    if (!job->ended()) {
      wanted_at = std::min(wanted_at, job->controller->NotBefore(client.record.id, now));
    }
  }
  const bool free = client.orders.empty() && !client.record.evaluate_only;
  if (!free || wanted_at == absl::InfiniteFuture()) return absl::ZeroDuration();
  return std::min(wanted_at - now, options_.longest_rest);
}

// Out of everybody's sight until it is back, so that nobody waits for it. All those for whom a
// window opens at the same time come back spread out, as after any other answer without work.
void LiveHost::SendAway(Client& client, absl::Duration rest) {
  Gone(client.record.id);
  AnswerPoll(client, RetryWindow{rest, rest + Pace().max_delay});
}

// A client that is between calls has until then to come back.
void LiveHost::ArmGrace(Client& client, absl::Duration wait) {
  deps_.loop->Cancel(client.grace_timer);
  client.grace_timer = deps_.loop->PostAt(deps_.clock->Now() + wait, [this, id = client.record.id] {
    clients_.at(id).grace_timer = 0;
    Gone(id);
  });
}

void LiveHost::Gone(const ClientId& id) {
  for (auto& [job_id, job] : jobs_) {
    if (job->presence.erase(id) > 0) Feed(*job, event::ClientGone{id});
  }
}

// ---- offering clients to jobs ----------------------------------------------------------

// To the jobs that have the fewest orders out first, until one takes it.
void LiveHost::Announce(Client& client) {
  if (draining_ || disk_alarm_.on() || !client.poll || !client.orders.empty()) return;
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
    const ClientReport& report = client.report;
    const bool news = job->controller->ReportedTask(client.record.id) != report.task;
    if (std::exchange(announced, true) && !news) continue;
    Feed(*job, event::ClientAvailable{client.record.id, client.record.evaluate_only, report.task,
                                      report.adapter_rank, report.memory_bytes});
  }
}

void LiveHost::AnnounceAll() {
  for (auto& [id, client] : clients_) Announce(client);
}

void LiveHost::Give(Client& client) {
  if (!client.poll || client.orders.empty() || disk_alarm_.on()) return;
  const auto& [job_id, id] = client.orders.front();
  LiveJob& job = *FindJob(job_id);
  LiveOrder& order = job.orders.at(id);
  if (!order.durable || verifying_.contains({job_id, id})) return;
  order.given = true;
  const JobSpec& spec = job.controller->spec();
  ExpectSign(job_id, order, spec.liveness_seconds);
  WorkItem item{.job = job_id,
                .order = order.order,
                .job_name = spec.name,
                .model_json = job.model_json,
                .train_json = job.train_json,
                .codec_json = job.codec_json,
                .downlink_json = job.downlink_json,
                .lora_json = job.lora_json,
                .error_feedback = job.error_feedback,
                .sketches = job.sketches,
                .liveness = spec.liveness_seconds};
  if (const auto kind = CollectKindOf(order.order.kind)) item.collect = job.collections.at(*kind);
  AnswerPoll(client, std::move(item));
}

}  // namespace tributary
