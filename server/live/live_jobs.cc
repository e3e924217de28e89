// Jobs: submission, commands, views, and recovery at the start.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/live/live_host.h"

namespace tributary {
namespace {

std::string Section(const nlohmann::json& spec, const char* name) {
  return spec.contains(name) ? spec.at(name).dump() : "null";
}

void FillSections(LiveJob& job) {
  const auto spec = nlohmann::json::parse(job.record.spec_json, nullptr, false);
  if (!spec.is_object()) return;
  job.model_json = Section(spec, "model");
  job.train_json = Section(spec, "train");
  job.codec_json = Section(spec, "codec");
}

}  // namespace

LiveJob* LiveHost::FindJob(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : it->second.get();
}

absl::StatusOr<LiveJob*> LiveHost::RequireJob(const JobId& job) const {
  if (LiveJob* const found = FindJob(job)) return found;
  return absl::NotFoundError(absl::StrCat("no job is called '", job.value(), "'"));
}

// ---- submission ------------------------------------------------------------------------

// The job's name and a number: readable, and the same on every machine.
JobId LiveHost::NewJobId(const std::string& name) const {
  const std::string stem = name.substr(0, 100);
  for (int n = 1;; ++n) {
    JobId id(absl::StrCat(stem, "-", n));
    if (!jobs_.contains(id) && !submitting_.contains(id)) return id;
  }
}

void LiveHost::SubmitJob(Submission submission, Callback<JobId> done) {
  if (draining_) return done(absl::UnavailableError("the server is shutting down"));
  if (const auto it = submissions_.find(submission.request_id); it != submissions_.end()) {
    // Behind the writes of the first call, if they are still under way.
    const JobId id = it->second;
    return disk_.Run([this, id, loop = deps_.loop, done = std::move(done)]() mutable {
      loop->Post([this, id, done = std::move(done)]() mutable {
        if (!jobs_.contains(id)) return done(absl::UnavailableError("the submission failed"));
        done(id);
      });
    });
  }
  if (HasInitialModel(submission.spec) != !submission.initial.empty()) {
    return done(absl::InvalidArgumentError(
        HasInitialModel(submission.spec)
            ? absl::StrCat("job.model.initial: '", *submission.spec.model.initial,
                           "' did not come with the job")
            : "an initial model came with a job that names none in job.model.initial"));
  }
  auto controller = JobController::Create(submission.spec);
  if (!controller.ok()) return done(controller.status());
  auto job = std::make_unique<LiveJob>();
  job->controller = *std::move(controller);
  job->record = {.id = NewJobId(submission.spec.name),
                 .request_id = submission.request_id,
                 .spec_json = CanonicalJson(submission.spec),
                 .state = std::string(JobStateName(JobState::kInitialising)),
                 .reason = "",
                 .submitted_at = deps_.clock->Now(),
                 .ended_at = std::nullopt};
  if (const absl::Status made = MakeExecutor(*job); !made.ok()) return done(made);
  submitting_.insert(job->id());
  if (!submission.request_id.empty()) submissions_[submission.request_id] = job->id();
  const std::string path = job->InitialPath(options_.data_dir);
  disk_.Run([this, job = std::move(job), initial = std::move(submission.initial), path,
             store = deps_.store, loop = deps_.loop, done = std::move(done)]() mutable {
    absl::Status written;
    if (!initial.empty()) written = WriteSafetensors(initial, path);
    if (written.ok()) written = store->PutJob(job->record);
    loop->Post([this, job = std::move(job), written, done = std::move(done)]() mutable {
      Submitted(std::move(job), written, std::move(done));
    });
  });
}

void LiveHost::Submitted(std::unique_ptr<LiveJob> owned, const absl::Status& written,
                         Callback<JobId> done) {
  submitting_.erase(owned->id());
  if (!written.ok()) {
    submissions_.erase(owned->record.request_id);
    return done(written);
  }
  LiveJob& job = *owned;
  jobs_[job.id()] = std::move(owned);
  FillSections(job);
  log::Info("job submitted", {{"job", job.id().value()}});
  const bool has_initial_model = HasInitialModel(job.controller->spec());
  for (const JobAction& action :
       job.controller->Start(job.record.submitted_at, has_initial_model)) {
    Perform(job, action);
  }
  AnnounceAll();
  done(job.id());
}

absl::Status LiveHost::MakeExecutor(LiveJob& job) const {
  TRIB_ASSIGN_OR_RETURN(job.executor,
                        JobExecutor::Create(job.controller->spec(), job.record.id, deps_.store));
  return absl::OkStatus();
}

// ---- operators -------------------------------------------------------------------------

JobView LiveHost::View(const LiveJob& job) const {
  JobView view{
      .record = job.record,
      .name = "",
      .config_digest = Sha256::Of(job.record.spec_json),
      .stop_versions = 0,
      .progress = {},
      .model_bytes = job.layout ? static_cast<uint64_t>(job.layout->size()) * sizeof(float) : 0,
      .uplink_bytes_dense = job.uplink_bytes_dense,
      .downlink_bytes = job.downlink_bytes};
  if (job.controller == nullptr) {  // its journal could not be read
    view.name = job.id().value();
    view.progress.state = JobState::kFailed;
    view.progress.reason = job.record.reason;
    return view;
  }
  view.name = job.controller->spec().name;
  view.stop_versions = job.controller->spec().stop.versions.value_or(0);
  view.progress = job.controller->progress();
  for (const auto& [cause, count] : job.refused) view.progress.lost[cause] += count;
  return view;
}

std::vector<JobView> LiveHost::ListJobs() const {
  std::vector<JobView> all;
  for (const auto& [id, job] : jobs_) all.push_back(View(*job));
  std::stable_sort(all.begin(), all.end(), [](const JobView& a, const JobView& b) {
    return a.record.submitted_at > b.record.submitted_at;
  });
  return all;
}

absl::StatusOr<JobView> LiveHost::GetJob(const JobId& id) const {
  TRIB_ASSIGN_OR_RETURN(const LiveJob* job, RequireJob(id));
  return View(*job);
}

absl::StatusOr<int64_t> LiveHost::Watch(const JobId& id, absl::AnyInvocable<void()> changed) {
  TRIB_ASSIGN_OR_RETURN(LiveJob * job, RequireJob(id));
  job->watchers[next_watcher_] = std::move(changed);
  return next_watcher_++;
}

void LiveHost::Unwatch(const JobId& id, int64_t watcher) {
  if (LiveJob* const job = FindJob(id)) job->watchers.erase(watcher);
}

void LiveHost::Changed(LiveJob& job) {
  if (std::exchange(job.changed, true)) return;
  journal_.AfterCommit([&job] {
    job.changed = false;
    for (auto& [id, watcher] : job.watchers) watcher();
  });
}

void LiveHost::Command(const JobId& id, event::Command::Verb verb, Callback<JobView> done) {
  const auto job = RequireJob(id);
  if (!job.ok()) return done(job.status());
  if ((*job)->ended()) {
    if (verb == event::Command::Verb::kCancel && (*job)->record.state == "cancelled") {
      return done(View(**job));
    }
    return done(absl::FailedPreconditionError(
        absl::StrCat("job '", id.value(), "' has ended: it is ", (*job)->record.state)));
  }
  Feed(**job, event::Command{verb});
  if (verb == event::Command::Verb::kResume) AnnounceAll();
  journal_.AfterCommit(
      [this, found = *job, done = std::move(done)]() mutable { done(View(*found)); });
}

// ---- recovery --------------------------------------------------------------------------

absl::Status LiveHost::Recover() {
  TRIB_ASSIGN_OR_RETURN(const auto clients, deps_.store->ListClients());
  for (const ClientRecord& client : clients) clients_[client.id].record = client;
  TRIB_ASSIGN_OR_RETURN(const auto jobs, deps_.store->ListJobs());
  for (const JobRecord& record : jobs) {
    auto job = std::make_unique<LiveJob>();
    job->record = record;
    if (!record.request_id.empty()) submissions_[record.request_id] = record.id;
    const absl::Status recovered = RecoverJob(*job);
    LiveJob& kept = *(jobs_[record.id] = std::move(job));
    if (recovered.ok()) continue;
    log::Error("job not recovered", {{"job", record.id.value()}, {"error", recovered}});
    kept.controller = nullptr;
    kept.orders.clear();
    kept.record.state = std::string(JobStateName(JobState::kFailed));
    kept.record.reason = std::string(recovered.message());
    TRIB_RETURN_IF_ERROR(deps_.store->PutJob(kept.record));
  }
  for (const JobRecord& record : jobs) Rejoin(*jobs_.at(record.id));
  return CleanSpool();
}

absl::Status LiveHost::RecoverJob(LiveJob& job) {
  TRIB_ASSIGN_OR_RETURN(const auto journal, deps_.store->ReadJournal(job.id()));
  TRIB_ASSIGN_OR_RETURN(Replayed replayed, Replay(job.record, journal));
  job.controller = std::move(replayed.controller);
  job.answered = std::move(replayed.answered);
  job.unused_updates = std::move(replayed.unused_updates);
  FillSections(job);
  TRIB_ASSIGN_OR_RETURN(const auto versions, deps_.store->ListVersions(job.id()));
  for (const VersionRecord& version : versions) {
    const auto evaluation = replayed.evaluations.find(version.version);
    if (version.evaluation || evaluation == replayed.evaluations.end()) continue;
    TRIB_RETURN_IF_ERROR(deps_.store->PutEvaluation(job.id(), evaluation->second));
  }
  if (!versions.empty()) {
    TRIB_ASSIGN_OR_RETURN(const auto newest,
                          deps_.store->OpenModel(job.id(), versions.back().version));
    job.layout = newest->layout();
    job.uplink_bytes_dense = static_cast<uint64_t>(replayed.updates * 4 * job.layout->size());
  }
  const JobProgress& progress = job.controller->progress();
  if (const std::string state(JobStateName(progress.state)); state != job.record.state) {
    job.record.state = state;
    job.record.reason = progress.reason;
    if (job.ended()) job.record.ended_at = replayed.last_event;
    TRIB_RETURN_IF_ERROR(deps_.store->PutJob(job.record));
  }
  if (job.ended()) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(MakeExecutor(job));
  TRIB_RETURN_IF_ERROR(job.executor->Restore());
  job.presence = std::move(replayed.presence);
  for (auto& [id, order] : replayed.orders) job.orders[id].order = std::move(order);
  job.publication = std::move(replayed.publication);
  job.wake_at = replayed.wake_at;
  log::Info("job recovered", {{"job", job.id().value()},
                              {"version", progress.version},
                              {"events", journal.size()},
                              {"orders", job.orders.size()}});
  return absl::OkStatus();
}

// Takes up what was under way: orders stay valid, timers are set again, a publication that
// was not answered is made again (or found made).
void LiveHost::Rejoin(LiveJob& job) {
  if (job.ended()) return;
  const absl::Duration liveness = job.controller->spec().liveness_seconds;
  std::vector<WorkOrderId> doubled;
  for (auto& [id, order] : job.orders) {
    order.durable = true;
    Client& client = clients_[order.order.client];
    client.record.id = order.order.client;
    if (!client.orders.empty()) doubled.push_back(id);
    client.orders.emplace_back(job.id(), id);
    ExpectSign(job.id(), order, std::max(liveness, options_.grace));
  }
  for (const WorkOrderId id : doubled) {
    Fail(job, id, LossCause::kAbandoned, "the client works for another job");
  }
  for (const auto& [client_id, idle] : job.presence) {
    Client& client = clients_[client_id];
    client.record.id = client_id;
    ArmGrace(client, Pace().max_delay + options_.grace);
  }
  if (job.wake_at != absl::InfiniteFuture()) On(job, action::WakeAt{job.wake_at});
  std::visit([&](const auto& publication) { On(job, publication); }, job.publication);
}

absl::Status LiveHost::CleanSpool() {
  TRIB_ASSIGN_OR_RETURN(const auto spooled, deps_.spool->List());
  for (const Spool::Entry& entry : spooled) {
    const LiveJob* const job = FindJob(entry.job);
    const bool wanted =
        job != nullptr && !job->ended() &&
        (job->unused_updates.contains(entry.work_order) || job->orders.contains(entry.work_order));
    if (!wanted) TRIB_RETURN_IF_ERROR(deps_.spool->Remove(entry.job, entry.work_order));
  }
  return absl::OkStatus();
}

}  // namespace tributary
