// What a crash or a shutdown left: jobs as their journals say, and what was under way.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "common/durable_file.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "server/live/live_host.h"

namespace tributary {

absl::Status LiveHost::Recover() {
  TRIB_ASSIGN_OR_RETURN(const auto clients, deps_.store->ListClients());
  for (const ClientRecord& client : clients) clients_[client.id].record = client;
  TRIB_ASSIGN_OR_RETURN(const auto jobs, deps_.store->ListJobs());
  TRIB_RETURN_IF_ERROR(KeepFiles(jobs));
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

// What a submission left that a crash cut off.
absl::Status LiveHost::KeepFiles(const std::vector<JobRecord>& jobs) {
  std::set<Digest> wanted;
  std::set<std::string> first_models;
  for (const JobRecord& record : jobs) {
    const auto spec = ParseJobSpecJson(record.spec_json);
    if (spec.ok() && spec->model.program) wanted.insert(FileDigestOf(*spec->model.program).sha256);
    first_models.insert(LiveJob::InitialName(record.id));
  }
  const std::string initial = options_.data_dir + "/initial/";
  TRIB_ASSIGN_OR_RETURN(const auto names, ListDirectory(initial));
  for (const std::string& name : names) {
    if (!first_models.contains(name)) TRIB_RETURN_IF_ERROR(RemoveFile(initial + name));
  }
  return files_->KeepOnly(wanted);
}

absl::Status LiveHost::RecoverJob(LiveJob& job) {
  TRIB_ASSIGN_OR_RETURN(const auto journal, deps_.store->ReadJournal(job.id()));
  job.journal_lines = journal.size();
  TRIB_ASSIGN_OR_RETURN(Replayed replayed, Replay(job.record, journal));
  job.controller = std::move(replayed.controller);
  job.digest = std::move(replayed.digest);
  job.answered = std::move(replayed.answered);
  job.unused_updates = std::move(replayed.unused_updates);
  job.FillSections();
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
  if (const auto& program = job.controller->spec().model.program) {
    TRIB_RETURN_IF_ERROR(files_->OpenForReading(FileDigestOf(*program)).status());
  }
  TRIB_RETURN_IF_ERROR(MakeExecutor(job));
  TRIB_RETURN_IF_ERROR(job.executor->Restore());
  job.collections = job.executor->Collections();
  job.adapters = job.executor->adapters();
  job.SetMask(job.executor->mask());
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
  std::set<JobId> over;
  for (const Spool::Entry& entry : spooled) {
    const auto& [job_id, order, client] = entry.owner;
    const LiveJob* const job = FindJob(job_id);
    const bool wanted = job != nullptr && !job->ended() &&
                        (job->unused_updates.contains(order) || job->orders.contains(order));
    if (wanted) continue;
    const bool accepted = entry.complete && job != nullptr && job->answered.contains(order);
    if (accepted && job->keeps_updates()) {
      TRIB_RETURN_IF_ERROR(deps_.spool->Keep(job_id, order, KeptPath(*job, order)));
    }
    TRIB_RETURN_IF_ERROR(deps_.spool->Remove(job_id, order));
    if (job == nullptr || job->ended()) over.insert(job_id);
  }
  for (const JobId& job : over) TRIB_RETURN_IF_ERROR(deps_.spool->RemoveJob(job));
  return absl::OkStatus();
}

}  // namespace tributary
