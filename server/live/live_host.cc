#include "server/live/live_host.h"

#include <malloc.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/exhausted.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/run_record.h"

namespace tributary {
namespace {

constexpr absl::Duration kBeat = absl::Seconds(1);
constexpr absl::Duration kLongestSilence = absl::Seconds(10);
constexpr int kPublishAttempts = 10;
constexpr absl::Duration kPublishAgainAfter = absl::Seconds(1);

class SpoolSource final : public UpdateSource {
 public:
  SpoolSource(const Spool* spool, JobId job) : spool_(spool), job_(std::move(job)) {}
  absl::StatusOr<PayloadBytes> Payload(WorkOrderId work_order) override {
    TRIB_ASSIGN_OR_RETURN(File file, spool_->OpenPayload(job_, work_order));
    return PayloadBytes::Of(std::move(file));
  }

 private:
  const Spool* const spool_;
  const JobId job_;
};

// What a publication that a crash cut off from its answer would have answered.
event::VersionPublished FromRecord(const VersionRecord& record) {
  event::VersionPublished published{.version = record.version, .model_digest = record.model_digest};
  const auto stats = nlohmann::json::parse(record.stats_json, nullptr, false);
  if (stats.is_object()) {
    published.server_rate = stats.value("server_rate", 1.0);
    published.client_rate = stats.value("client_rate", 1.0);
    published.delta_norm = stats.value("delta_norm", 0.0);
    published.tail_energy = stats.value("tail_energy", 0.0);
    published.dropped_energy = stats.value("dropped_energy", 0.0);
  }
  return published;
}

}  // namespace

LiveHost::LiveHost(LiveOptions options, Deps deps, std::unique_ptr<JobFiles> files)
    : options_(std::move(options)),
      deps_(deps),
      files_(std::move(files)),
      disk_(deps.pool),
      removals_(deps.pool),
      numerics_(deps.pool),
      journal_(deps.loop, &disk_, deps.clock, deps.store),
      disk_alarm_(deps.spool->min_free_bytes()),
      beat_ns_(absl::ToUnixNanos(deps.clock->Now())) {}

absl::StatusOr<std::unique_ptr<LiveHost>> LiveHost::Create(LiveOptions options, Deps deps) {
  TRIB_RETURN_IF_ERROR(CreateDirectory(options.data_dir + "/initial"));
  TRIB_ASSIGN_OR_RETURN(
      auto files, JobFiles::Open(options.data_dir + "/files",
                                 {.max_bytes = static_cast<uint64_t>(options.max_update_bytes),
                                  .min_free_bytes = deps.spool->min_free_bytes()}));
  auto host = std::unique_ptr<LiveHost>(new LiveHost(std::move(options), deps, std::move(files)));
  TRIB_RETURN_IF_ERROR(host->Recover());
  host->Beat();
  return host;
}

// ---- events in -------------------------------------------------------------------------

void LiveHost::Feed(LiveJob& job, decltype(JobEvent::what) what) {
  events_.emplace_back(&job, JobEvent{deps_.clock->Now(), std::move(what)});
  Pump();
}

// One event at a time: it is journalled with the digest of what was decided on it, and its
// actions are performed, before the next event is handled.
void LiveHost::Pump() {
  if (pumping_) return;
  pumping_ = true;
  while (!events_.empty()) {
    const auto [job, event] = std::move(events_.front());
    events_.pop_front();
    if (job->ended()) continue;
    const std::vector<JobAction> actions = job->controller->Handle(event);
    nlohmann::json line = ToJson(event);
    line["digest"] = job->digest.Add(event, actions);
    ++job->journal_lines;
    journal_.Append(job->id(), ToLine(line));
    for (const JobAction& action : actions) Perform(*job, action);
    Changed(*job);
  }
  pumping_ = false;
}

// ---- actions out -----------------------------------------------------------------------

void LiveHost::Perform(LiveJob& job, const JobAction& action) {
  std::visit([&](const auto& a) { On(job, a); }, action);
}

void LiveHost::On(LiveJob& job, const action::SendWork& a) {
  const WorkOrderId id = a.order.id;
  LiveOrder& order = job.orders[id];
  order.order = a.order;
  order.last_sign = deps_.clock->Now();
  Client& client = clients_[a.order.client];
  if (!client.orders.empty()) {
    return Fail(job, id, LossCause::kAbandoned,
                absl::StrCat("the client works for job ", client.orders.front().first.value()));
  }
  client.orders.emplace_back(job.id(), id);
  job.presence[a.order.client] = false;
  for (auto& [other_id, other] : jobs_) {
    if (other.get() == &job || other->presence.erase(a.order.client) == 0) continue;
    Feed(*other, event::ClientGone{a.order.client});
  }
  journal_.AfterCommit([this, job_id = job.id(), id] {
    LiveJob* const owner = FindJob(job_id);
    const auto it = owner->orders.find(id);
    if (it == owner->orders.end()) return;
    it->second.durable = true;
    ExpectSign(job_id, it->second, options_.grace + Pace().max_delay);
    Give(clients_[it->second.order.client]);
  });
}

void LiveHost::On(LiveJob& job, const action::RecallWork& a) {
  RemoveOrder(job, a.work_order);
  RemoveSpooled(job.id(), {a.work_order});
}

void LiveHost::On(LiveJob& job, const action::InstallModel& a) {
  Publish(job, 0, {a.work_order},
          [executor = job.executor, path = job.InitialPath(options_.data_dir),
           clock = deps_.clock]() -> absl::StatusOr<event::VersionPublished> {
            TRIB_ASSIGN_OR_RETURN(ParamVector model, ReadSafetensors(path));
            return executor->Install(model, clock->Now());
          });
}

void LiveHost::On(LiveJob& job, const action::PublishVersion& a) {
  std::vector<WorkOrderId> used;
  for (const auto& part : a.parts) used.push_back(part.info.work_order);
  Publish(job, a.version, std::move(used),
          [executor = job.executor, a, spool = deps_.spool, id = job.id(), clock = deps_.clock] {
            SpoolSource source(spool, id);
            return executor->Publish(a, source, clock->Now());
          });
}

void LiveHost::On(LiveJob& job, const action::DropUpdate& a) { Retire(job, {a.work_order}); }

void LiveHost::On(LiveJob& job, const action::WakeAt& a) {
  deps_.loop->Cancel(job.wake_timer);
  if (a.at == absl::InfiniteFuture()) return;
  job.wake_timer =
      deps_.loop->PostAt(a.at, [this, id = job.id()] { Feed(*FindJob(id), event::TimerFired{}); });
}

void LiveHost::On(LiveJob& job, const action::RecordEvaluation& a) {
  OnDisk([id = job.id(), a](ModelStore& store) {
    return store.PutEvaluation(id, {a.version, a.loss, a.accuracy, a.num_examples});
  });
}

void LiveHost::On(LiveJob& job, const action::SetState& a) {
  job.record.state = std::string(JobStateName(a.state));
  job.record.reason = a.reason;
  log::Info(
      "job state",
      {{"job", job.id().value()}, {"state", job.record.state}, {"reason", job.record.reason}});
  if (IsEnded(a.state)) {
    job.record.ended_at = deps_.clock->Now();
    job.presence.clear();
    job.executor = nullptr;  // and with it the model
    deps_.loop->Cancel(job.wake_timer);
    RemoveAllSpooled(job);
    if (!job.keeps_updates()) {
      Discard([initial = job.InitialPath(options_.data_dir)] { return RemoveFile(initial); });
    }
  }
  OnDisk([record = job.record](ModelStore& store) { return store.PutJob(record); });
}

// ---- publishing ------------------------------------------------------------------------

struct LiveHost::Publishing {
  JobId id;
  Version version = 0;
  std::vector<WorkOrderId> used;
  std::shared_ptr<JobExecutor> executor;
  Make make;
  bool tried = false;  // what the attempt left in the executor must go
  int failures = 0;
};

void LiveHost::Publish(LiveJob& job, Version version, std::vector<WorkOrderId> used, Make make) {
  ++under_way_;
  auto publishing = std::make_shared<Publishing>(
      Publishing{job.id(), version, std::move(used), job.executor, std::move(make)});
  journal_.AfterCommit([this, publishing] { MakeVersion(publishing); });
}

void LiveHost::MakeVersion(std::shared_ptr<Publishing> publishing) {
  numerics_.Run([this, p = std::move(publishing), store = deps_.store, loop = deps_.loop] {
    // Combining takes three models' worth; what the uploads before it left in the allocator's
    // lists would come on top.
    malloc_trim(0);
    const auto attempt = [&]() -> absl::StatusOr<event::VersionPublished> {
      const auto record = store->GetVersion(p->id, p->version);
      if (record.ok() || std::exchange(p->tried, true)) {
        TRIB_RETURN_IF_ERROR(p->executor->Restore());
      }
      if (!record.ok()) return p->make();
      event::VersionPublished published = FromRecord(*record);
      p->executor->PutSizes(published);
      return published;
    };
    absl::StatusOr<event::VersionPublished> result = attempt();
    loop->Post([this, p, result = std::move(result), layout = p->executor->layout(),
                collections = p->executor->Collections(), mask = p->executor->mask(),
                adapters = p->executor->adapters()] {
      if (result.ok()) {
        LiveJob& job = *FindJob(p->id);
        job.layout = layout;
        job.collections = collections;
        job.adapters = adapters;
        job.SetMask(mask);
      }
      const bool unavailable = absl::IsUnavailable(result.status());
      if (IsDiskFull(result.status()) || (unavailable && ++p->failures < kPublishAttempts)) {
        return MakeVersionLater(p, result.status());
      }
      Published(p->id, result, p->used);
    });
    // What the new version replaces is in nobody's way.
    if (const absl::Status pruned = p->executor->Prune(); !pruned.ok()) {
      log::Error("old versions not removed", {{"job", p->id.value()}, {"error", pruned}});
    }
  });
}

// When there is room, or in a while; the lane is free until then.
void LiveHost::MakeVersionLater(std::shared_ptr<Publishing> publishing, const absl::Status& why) {
  --under_way_;
  log::Warning("publishing failed; trying again",
               {{"job", publishing->id.value()}, {"version", publishing->version}, {"error", why}});
  EventLoop::Task again = [this, p = std::move(publishing)] {
    if (FindJob(p->id)->ended()) return;
    ++under_way_;
    MakeVersion(p);
  };
  if (IsDiskFull(why)) {
    for_room_.push_back(std::move(again));
    NoteDisk(why);
  } else {
    deps_.loop->PostAt(deps_.clock->Now() + kPublishAgainAfter, std::move(again));
  }
  CheckDrained();
}

void LiveHost::Published(const JobId& id, const absl::StatusOr<event::VersionPublished>& result,
                         const std::vector<WorkOrderId>& used) {
  LiveJob& job = *FindJob(id);
  --under_way_;
  if (result.ok()) {
    log::Info("version published", {{"job", id.value()},
                                    {"version", result->version},
                                    {"updates", used.size()},
                                    {"delta_norm", result->delta_norm}});
    // Before the job may end by this: the version is in the store, so nobody needs them.
    result->version == 0 ? RemoveSpooled(id, used) : Retire(job, used);
    Feed(job, *result);
    LogWarnings(job);
  } else {
    log::Error("publishing failed", {{"job", id.value()}, {"error", result.status()}});
    Feed(job, event::PublishFailed{std::string(result.status().message())});
  }
  CheckDrained();
}

// The scheduler's, each when it first appears: its figures may change from version to version.
void LiveHost::LogWarnings(LiveJob& job) {
  const nlohmann::json stats = job.controller->SchedulerStats();
  const auto warnings = stats.value("warnings", std::vector<std::string>());
  for (size_t i = job.warnings; i < warnings.size(); ++i) {
    log::Warning("scheduler", {{"job", job.id().value()}, {"warning", warnings[i]}});
  }
  job.warnings = std::max(job.warnings, warnings.size());
}

// ---- housekeeping ----------------------------------------------------------------------

void LiveHost::Beat() {
  const absl::Time now = deps_.clock->Now();
  beat_ns_ = absl::ToUnixNanos(now);
  store_ok_ = journal_.status().ok();
  MeasureDisk();
  deps_.loop->PostAt(now + kBeat, [this] { Beat(); });
}

absl::Status LiveHost::Ready() const {
  if (!accepting_) return absl::UnavailableError("shutting down");
  if (!disk_ok_) return absl::UnavailableError("the disk is full");
  if (!store_ok_) return absl::UnavailableError("the store cannot be written");
  const absl::Duration silence = deps_.clock->Now() - absl::FromUnixNanos(beat_ns_);
  if (silence > kLongestSilence) {
    return absl::UnavailableError(
        absl::StrCat("the event loop has not run for ", absl::FormatDuration(silence)));
  }
  return absl::OkStatus();
}

void LiveHost::Drain(EventLoop::Task done) {
  draining_ = true;
  accepting_ = false;
  drained_ = std::move(done);
  for (auto& [id, client] : clients_) AnswerPoll(client, Pace());
  for (auto& [id, job] : jobs_) Changed(*job);
  CheckDrained();
}

void LiveHost::CheckDrained() {
  if (!drained_ || under_way_ > 0) return;
  journal_.AfterCommit([this] {
    if (!drained_ || under_way_ > 0) return;
    // The last writes stand on the disk lane already; this one behind them.
    disk_.Run([loop = deps_.loop, done = std::exchange(drained_, nullptr)]() mutable {
      loop->Post(std::move(done));
    });
  });
}

}  // namespace tributary
