#include "simulator/experiment.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/store/delivery.h"
#include "server/store/memory_store.h"

namespace tributary {
namespace {

const JobId kJob("simulation");

double Seconds(absl::Time t) { return absl::ToDoubleSeconds(t - absl::UnixEpoch()); }

int64_t PeakRssBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

class PayloadMap final : public UpdateSource {
 public:
  explicit PayloadMap(absl::flat_hash_map<WorkOrderId, std::string>& payloads)
      : payloads_(payloads) {}
  absl::StatusOr<PayloadBytes> Payload(WorkOrderId work_order) override {
    const auto it = payloads_.find(work_order);
    if (it == payloads_.end()) return absl::NotFoundError(absl::StrCat("no update ", work_order));
    std::string payload = std::move(it->second);
    payloads_.erase(it);
    return payload;
  }

 private:
  absl::flat_hash_map<WorkOrderId, std::string>& payloads_;
};

}  // namespace

Experiment::Experiment(SimulationFile file, std::unique_ptr<Workload> workload,
                       std::unique_ptr<const Fleet> fleet, ExperimentOptions options)
    : file_(std::move(file)),
      options_(std::move(options)),
      workload_(std::move(workload)),
      fleet_(std::move(fleet)),
      wall_start_(wall_clock_.Now()),
      clients_(file_.job, fleet_.get(), workload_.get(), &queue_, this) {}

absl::StatusOr<std::unique_ptr<Experiment>> Experiment::Create(SimulationFile file,
                                                               std::unique_ptr<Workload> workload,
                                                               ExperimentOptions options) {
  TRIB_ASSIGN_OR_RETURN(std::unique_ptr<const Fleet> fleet, Fleet::Create(file));
  auto experiment = std::unique_ptr<Experiment>(
      new Experiment(std::move(file), std::move(workload), std::move(fleet), std::move(options)));
  const JobSpec& job = experiment->file_.job;
  TRIB_ASSIGN_OR_RETURN(experiment->store_, MemoryStore::Create({}));
  TRIB_RETURN_IF_ERROR(experiment->store_->PutJob({.id = kJob, .spec_json = CanonicalJson(job)}));
  TRIB_ASSIGN_OR_RETURN(experiment->controller_, JobController::Create(job));
  TRIB_ASSIGN_OR_RETURN(experiment->executor_,
                        JobExecutor::Create(job, kJob, experiment->store_.get()));
  TRIB_RETURN_IF_ERROR(experiment->LoadModel());
  return experiment;
}

absl::Status Experiment::LoadModel() {
  const auto& initial = file_.job.model.initial;
  if (!initial) return absl::OkStatus();
  auto model = ReadSafetensors(*initial);
  if (!model.ok()) return file_.Refuse("job.model.initial", model.status());
  const absl::Status fits = workload_->CheckModel(*model);
  if (!fits.ok()) return file_.Refuse("job.model.initial", WithContext(fits, *initial));
  first_model_ = *std::move(model);
  return absl::OkStatus();
}

absl::Status Experiment::WriteFleet(RunLog& log) const {
  std::vector<int64_t> examples;
  for (int64_t i = 0; i < fleet_->size(); ++i)
    examples.push_back(workload_->Examples(i, /*task=*/0));
  return log.WriteFleet(fleet_->ToJson(examples));
}

absl::Status Experiment::Run(RunLog* log) {
  log_ = log;
  if (log_ != nullptr) TRIB_RETURN_IF_ERROR(WriteFleet(*log_));
  clients_.Start();
  for (const JobAction& action : controller_->Start(now_, !first_model_.empty())) Perform(action);
  const absl::Status status = Loop();
  clients_.Stop();
  wall_seconds_ = absl::ToDoubleSeconds(wall_clock_.Now() - wall_start_);
  return status;
}

absl::Status Experiment::Loop() {
  const JobProgress& progress = controller_->progress();
  while (!IsEnded(progress.state)) {
    if (options_.stop.stop_requested()) return absl::CancelledError("interrupted");
    TRIB_RETURN_IF_ERROR(failure_);
    // No operator is there to let it go on.
    if (progress.state == JobState::kPaused) return absl::FailedPreconditionError(progress.reason);
    if (!answers_.empty()) {
      auto answer = std::move(answers_.front());
      answers_.pop_front();
      Deliver(std::move(answer));
    } else if (!queue_.empty()) {
      const auto [at, what] = queue_.Pop();
      now_ = at;
      if (const Happening* const next = queue_.Expected()) clients_.Expect(*next);
      if (what.kind != Happening::Kind::kTimer) {
        clients_.Happen(what);
      } else if (what.id == wishes_) {
        Deliver(event::TimerFired{});
      }
    } else {
      return absl::FailedPreconditionError(
          absl::StrCat("nothing is left to happen at virtual second ", Seconds(now_),
                       ", and the job has not reached its stop: version ", progress.version,
                       "; check the scheduler's options against the number of clients"));
    }
  }
  TRIB_RETURN_IF_ERROR(failure_);
  if (progress.state == JobState::kFailed) return absl::FailedPreconditionError(progress.reason);
  return absl::OkStatus();
}

RunSummary Experiment::Summary() const {
  return {.name = file_.job.name,
          .seed = file_.simulation.seed,
          .config_digest = ConfigDigest(file_.job).ToHex(),
          .progress = controller_->progress(),
          .virtual_seconds = Seconds(now_),
          .wall_seconds = wall_seconds_,
          .peak_rss_bytes = PeakRssBytes(),
          .downlink_bytes = clients_.downlink_bytes(),
          .uplink_bytes_dense = uplink_bytes_dense_,
          .train_flops = clients_.train_flops(),
          .train_flops_dense = clients_.train_flops_dense(),
          .clients = fleet_->size(),
          .utilisation = clients_.Utilisation(),
          .targets = file_.simulation.targets,
          .scheduler = controller_->SchedulerStats()};
}

absl::StatusOr<ParamVector> Experiment::Model() const {
  return store_->LoadModel(kJob, controller_->progress().version);
}

// ---- what the virtual clients ask for --------------------------------------------------

void Experiment::Deliver(decltype(JobEvent::what) what) {
  const JobEvent event{now_, std::move(what)};
  ++events_;
  if (log_ != nullptr) log_->Record(event);
  const std::vector<JobAction> actions = controller_->Handle(event);
  if (std::holds_alternative<event::VersionPublished>(event.what)) {
    metrics_.back().AddCounts(controller_->progress());
  }
  for (const JobAction& action : actions) {
    if (log_ != nullptr) log_->Record(action, now_);
    Perform(action);
  }
  if (options_.on_progress) options_.on_progress(controller_->progress(), now_ - absl::UnixEpoch());
}

int64_t Experiment::DownloadBytes(Version version, Version held) {
  if (!file_.job.downlink || held < 0) return model_bytes();
  const auto record = store_->GetVersion(kJob, held);
  if (!record.ok()) return model_bytes();
  const auto delivery =
      OpenDelivery(*store_, kJob, version, HeldVersion{held, record->model_digest});
  // Of a version that is gone, the order fails.
  return delivery.ok() ? static_cast<int64_t>((*delivery)->size_bytes()) : model_bytes();
}

absl::StatusOr<std::shared_ptr<const ParamVector>> Experiment::Snapshot(Version version) {
  std::weak_ptr<const ParamVector>& kept = snapshots_[version];
  if (auto snapshot = kept.lock()) return snapshot;
  TRIB_ASSIGN_OR_RETURN(ParamVector model, store_->LoadModel(kJob, version));
  auto snapshot = std::make_shared<const ParamVector>(std::move(model));
  kept = snapshot;
  if (snapshots_.size() >= sweep_at_) {
    absl::erase_if(snapshots_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = 2 * snapshots_.size() + 16;
  }
  return snapshot;
}

absl::StatusOr<CollectRequest> Experiment::RequestFor(CollectKind kind) const {
  const auto requests = executor_->Collections();
  const auto it = requests.find(kind);
  if (it == requests.end()) return absl::InternalError("nothing learns from this collection");
  return it->second;
}

absl::Status Experiment::KeepUpdate(WorkKind kind, const UpdateInfo& info, std::string payload) {
  const auto collects = CollectKindOf(kind);
  const WorkOrder* const order = controller_->FindWork(info.work_order);
  const uint64_t seed = order == nullptr ? 0 : order->seed;
  TRIB_RETURN_IF_ERROR(collects ? executor_->CheckContribution(*collects, info, payload)
                                : executor_->Check(info, payload, seed));
  if (log_ != nullptr) failure_.Update(log_->KeepUpdate(info.work_order, payload));
  uplink_bytes_dense_ += collects ? static_cast<int64_t>(payload.size()) : dense_update_bytes();
  payloads_[info.work_order] = std::move(payload);
  return absl::OkStatus();
}

// ---- what the coordinator asks for -----------------------------------------------------

void Experiment::Perform(const JobAction& action) {
  std::visit([this](const auto& a) { Do(a); }, action);
}

void Experiment::Do(const action::InstallModel&) {
  if (log_ != nullptr) failure_.Update(log_->KeepFirstModel(first_model_));
  Answer(executor_->Install(std::exchange(first_model_, {}), now_));
}

void Experiment::Do(const action::PublishVersion& a) {
  PayloadMap payloads(payloads_);
  Answer(executor_->Publish(a, payloads, now_));
}

void Experiment::Answer(const absl::StatusOr<event::VersionPublished>& published) {
  if (!published.ok()) {
    answers_.emplace_back(event::PublishFailed{std::string(published.status().message())});
    return;
  }
  failure_.Update(executor_->Prune());
  answers_.emplace_back(*published);
  metrics_.push_back(VersionMetrics::Of(*published, Seconds(now_), controller_->progress()));
  metrics_.back().downlink_bytes = clients_.downlink_bytes();
}

void Experiment::Do(const action::WakeAt& a) {
  ++wishes_;
  if (a.at == absl::InfiniteFuture()) return;
  queue_.Push(std::max(a.at, now_), EventRank::kTimer,
              {.kind = Happening::Kind::kTimer, .id = wishes_});
}

void Experiment::Do(const action::RecordEvaluation& a) {
  for (auto row = metrics_.rbegin(); row != metrics_.rend(); ++row) {
    if (row->version != a.version) continue;
    return row->AddEvaluation(a);
  }
}

}  // namespace tributary
