#include "simulator/experiment.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/data/partition.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/store/memory_store.h"

namespace tributary {
namespace {

const JobId kJob("simulation");
const ClientId kEvaluator("evaluator");

JobInfo MakeJobInfo(const JobSpec& spec) {
  return {.id = kJob,
          .name = spec.name,
          .model_json = config::Print(spec.model).dump(),
          .train_json = config::Print(spec.train).dump()};
}

absl::Duration Transfer(int64_t bytes, double mbps, double latency_ms) {
  const double seconds = static_cast<double>(bytes) * 8.0 / (mbps * 1e6) + latency_ms / 1e3;
  return absl::Nanoseconds(std::llround(seconds * 1e9));
}

int64_t PeakRssBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

class PayloadMap final : public UpdateSource {
 public:
  explicit PayloadMap(std::map<WorkOrderId, std::string>& payloads) : payloads_(payloads) {}
  absl::StatusOr<std::string> Payload(WorkOrderId work_order) override {
    const auto it = payloads_.find(work_order);
    if (it == payloads_.end()) return absl::NotFoundError(absl::StrCat("no update ", work_order));
    std::string payload = std::move(it->second);
    payloads_.erase(it);
    return payload;
  }

 private:
  std::map<WorkOrderId, std::string>& payloads_;
};

}  // namespace

struct Experiment::Work {
  WorkOrder order;
  VirtualClient* client = nullptr;
  std::shared_ptr<const ParamVector> base;
  std::stop_source stop;
  std::optional<std::stop_callback<std::function<void()>>> with_the_run;  // requests `stop`
  std::future<void> done;
  // Written by the pool's thread, read after `done`.
  absl::Status status;
  TrainResult trained;
  std::string payload;
  EvalResult evaluated;
  ParamVector first_model;
};

Experiment::Experiment(SimulationFile file, ExperimentOptions options)
    : file_(std::move(file)),
      options_(std::move(options)),
      job_info_(MakeJobInfo(file_.job)),
      wall_start_(wall_clock_.Now()),
      pool_(std::make_unique<TrainPool>(options_.threads)) {}

absl::StatusOr<std::unique_ptr<Experiment>> Experiment::Create(SimulationFile file,
                                                               ExperimentOptions options) {
  auto experiment =
      std::unique_ptr<Experiment>(new Experiment(std::move(file), std::move(options)));
  const JobSpec& job = experiment->file_.job;
  TRIB_ASSIGN_OR_RETURN(experiment->store_, MemoryStore::Create({}));
  TRIB_RETURN_IF_ERROR(experiment->store_->PutJob({.id = kJob, .spec_json = CanonicalJson(job)}));
  TRIB_ASSIGN_OR_RETURN(experiment->controller_, JobController::Create(job));
  TRIB_ASSIGN_OR_RETURN(experiment->executor_,
                        JobExecutor::Create(job, kJob, experiment->store_.get()));
  TRIB_ASSIGN_OR_RETURN(experiment->codec_, CreateCodec(job.codec));
  TRIB_RETURN_IF_ERROR(experiment->Populate());
  TRIB_RETURN_IF_ERROR(experiment->LoadModel());
  return experiment;
}

// A model that does not fit the data is found here and not in the first training.
absl::Status Experiment::LoadModel() {
  TorchWorker worker;
  const DataShape shape = DataShape::Of(*data_.train);
  const auto flops = worker.TrainFlopsPerExample(job_info_, shape);
  if (!flops.ok()) return file_.Refuse("job.model", flops.status());
  flops_per_example_ = *flops;
  const std::optional<std::string>& initial = file_.job.model.initial;
  if (!initial) return absl::OkStatus();
  auto model = ReadSafetensors(*initial);
  if (!model.ok()) return file_.Refuse("job.model.initial", model.status());
  const absl::Status fits = worker.CheckModel(job_info_, shape, *model);
  if (!fits.ok()) return file_.Refuse("job.model.initial", WithContext(fits, *initial));
  first_model_ = *std::move(model);
  return absl::OkStatus();
}

absl::Status Experiment::Populate() {
  const SimulationSpec& spec = file_.simulation;
  const auto seed = static_cast<uint64_t>(spec.seed);
  auto data = LoadDataset(spec.data);
  if (!data.ok()) return file_.Refuse("simulation.data", data.status());
  data_ = *std::move(data);
  auto parts = PartitionDataset(*data_.train, spec.data.partition, spec.clients, seed);
  if (!parts.ok()) return file_.Refuse("simulation.data.partition", parts.status());
  TRIB_ASSIGN_OR_RETURN(speed_, SpeedRegistry().Create(spec.speed));
  const Rng speeds = Rng(seed).Split("speed");
  for (int64_t i = 0; i < spec.clients; ++i) {
    Rng own = speeds.Split(static_cast<uint64_t>(i));
    // Zero-padded to equal lengths: names sort as indices do.
    const ClientId id(absl::StrFormat("client-%0*d", absl::StrCat(spec.clients - 1).size(), i));
    VirtualClient& client = clients_[id];
    client.id = id;
    client.view = {data_.train, std::move((*parts)[static_cast<size_t>(i)])};
    client.step_time = speed_->DrawStepTime(own);
    client.jitter = own.Split("jitter");
  }
  VirtualClient& evaluator = clients_[kEvaluator];
  evaluator.id = kEvaluator;
  evaluator.view = DataView::All(data_.test);
  evaluator.evaluate_only = true;
  return absl::OkStatus();
}

absl::Status Experiment::Run(RunLog* log) {
  log_ = log;
  CheckIn(clients_.at(kEvaluator));
  for (const auto& [id, client] : clients_) {
    if (!client.evaluate_only) CheckIn(client);
  }
  for (const JobAction& action : controller_->Start(now_, !first_model_.empty())) Perform(action);
  while (!IsEnded(controller_->progress().state) && failure_.ok()) {
    if (options_.stop.stop_requested()) break;
    if (answers_.empty() && queue_.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "nothing is left to happen at virtual second ",
          absl::ToDoubleSeconds(now_ - absl::UnixEpoch()),
          ", and the job has not reached its stop: version ", controller_->progress().version,
          "; check the scheduler's options against the number of clients"));
    }
    if (!answers_.empty()) {
      const JobEvent answer = std::move(answers_.front());
      answers_.pop_front();
      Deliver(answer);
    } else {
      auto [at, handler] = queue_.Pop();
      now_ = at;
      handler();
    }
  }
  for (const auto& [id, work] : work_) work->stop.request_stop();
  wall_seconds_ = absl::ToDoubleSeconds(wall_clock_.Now() - wall_start_);
  if (options_.stop.stop_requested() && !IsEnded(controller_->progress().state)) {
    return absl::CancelledError("interrupted");
  }
  TRIB_RETURN_IF_ERROR(failure_);
  const JobProgress& progress = controller_->progress();
  if (progress.state == JobState::kFailed) return absl::FailedPreconditionError(progress.reason);
  return absl::OkStatus();
}

RunSummary Experiment::Summary() const {
  return {.name = file_.job.name,
          .seed = file_.simulation.seed,
          .config_digest = ConfigDigest(file_.job).ToHex(),
          .progress = controller_->progress(),
          .virtual_seconds = absl::ToDoubleSeconds(now_ - absl::UnixEpoch()),
          .wall_seconds = wall_seconds_,
          .peak_rss_bytes = PeakRssBytes(),
          .downlink_bytes = downlink_bytes_,
          .uplink_bytes_dense = uplink_bytes_dense_,
          .train_flops = train_flops_,
          .train_flops_dense = train_flops_,
          .clients = file_.simulation.clients,
          .targets = file_.simulation.targets,
          .scheduler = controller_->SchedulerStats()};
}

absl::StatusOr<ParamVector> Experiment::Model() const {
  return store_->LoadModel(kJob, controller_->progress().version);
}

// ---- events in, actions out ------------------------------------------------------------

void Experiment::Deliver(JobEvent event) {
  event.at = now_;
  if (log_ != nullptr) log_->Record(event);
  const std::vector<JobAction> actions = controller_->Handle(event);
  if (std::holds_alternative<event::VersionPublished>(event.what)) CompleteRow(metrics_.back());
  for (const JobAction& action : actions) {
    if (log_ != nullptr) log_->Record(action, now_);
    Perform(action);
  }
  if (options_.on_progress) options_.on_progress(controller_->progress(), now_ - absl::UnixEpoch());
}

void Experiment::CheckIn(const VirtualClient& client) {
  queue_.Push(now_, EventRank::kCheckIn,
              [this, id = client.id, evaluate_only = client.evaluate_only] {
                Deliver({now_, event::ClientAvailable{id, evaluate_only}});
              });
}

void Experiment::Perform(const JobAction& action) {
  std::visit([this](const auto& a) { Do(a); }, action);
}

void Experiment::Do(const action::SendWork& a) {
  auto work = std::make_shared<Work>();
  work->order = a.order;
  work->client = &clients_.at(a.order.client);
  work->with_the_run.emplace(options_.stop, [stop = work->stop]() mutable { stop.request_stop(); });
  work_[a.order.id] = work;
  if (a.order.kind == WorkKind::kInitialise) return MakeFirstModel(work);
  auto base = Snapshot(a.order.version);
  if (!base.ok()) {
    failure_ = base.status();
    return;
  }
  work->base = *std::move(base);
  a.order.kind == WorkKind::kTrain ? Train(work) : Evaluate(work);
}

void Experiment::Do(const action::RecallWork& a) {
  const auto node = work_.extract(a.work_order);
  if (node.empty()) return;
  node.mapped()->stop.request_stop();
  CheckIn(*node.mapped()->client);
}

void Experiment::Do(const action::InstallModel&) {
  Answer(executor_->Install(std::exchange(first_model_, {}), now_));
}

void Experiment::Do(const action::PublishVersion& a) {
  PayloadMap payloads(payloads_);
  Answer(executor_->Publish(a, payloads, now_));
}

void Experiment::Answer(const absl::StatusOr<event::VersionPublished>& published) {
  if (!published.ok()) {
    answers_.push_back({now_, event::PublishFailed{std::string(published.status().message())}});
    return;
  }
  failures_in_a_row_ = 0;
  answers_.push_back({now_, *published});
  metrics_.push_back({.version = published->version,
                      .virtual_seconds = absl::ToDoubleSeconds(now_ - absl::UnixEpoch()),
                      .downlink_bytes = downlink_bytes_,
                      .server_rate = published->server_rate});
}

// Adds what the controller counts, once it has been told of the version.
void Experiment::CompleteRow(VersionMetrics& row) const {
  const JobProgress& progress = controller_->progress();
  row.updates = progress.updates;
  row.uplink_bytes = progress.uplink_bytes;
  row.client_steps = progress.client_steps;
  row.mean_staleness = progress.last_mean_staleness;
}

void Experiment::Do(const action::DropUpdate& a) { payloads_.erase(a.work_order); }

void Experiment::Do(const action::WakeAt& a) {
  wake_ = a.at;
  if (wake_ == absl::InfiniteFuture()) return;
  queue_.Push(std::max(wake_, now_), EventRank::kTimer, [this, wish = wake_] {
    if (wake_ != wish) return;  // replaced since
    wake_ = absl::InfiniteFuture();
    Deliver({now_, event::TimerFired{}});
  });
}

void Experiment::Do(const action::RecordEvaluation& a) {
  for (auto row = metrics_.rbegin(); row != metrics_.rend(); ++row) {
    if (row->version != a.version) continue;
    row->loss = a.loss;
    row->accuracy = a.accuracy;
    return;
  }
}

void Experiment::Do(const action::SetState&) {}

// ---- the virtual clients ---------------------------------------------------------------

void Experiment::MakeFirstModel(const std::shared_ptr<Work>& work) {
  work->done = pool_->Start(now_, [this, work](TorchWorker& worker) {
    auto model = worker.InitialModel(job_info_, DataShape::Of(*data_.train), work->order.seed);
    work->status = model.status();
    if (model.ok()) work->first_model = *std::move(model);
  });
  queue_.Push(now_, EventRank::kResult, [this, work] {
    work->done.get();
    work_.erase(work->order.id);
    if (!work->status.ok()) {
      failure_ = work->status;
      return;
    }
    first_model_ = std::move(work->first_model);
    Deliver({now_, event::ModelMade{work->order.id}});
    CheckIn(*work->client);
  });
}

void Experiment::Train(const std::shared_ptr<Work>& work) {
  VirtualClient& client = *work->client;
  const auto steps = static_cast<double>(PlannedSteps(work->order, client));
  const double seconds =
      absl::ToDoubleSeconds(client.step_time) * steps * speed_->DrawJitter(client.jitter);
  const absl::Time trained_at =
      now_ + Download(client, work->order.version) + absl::Nanoseconds(std::llround(seconds * 1e9));
  work->done = pool_->Start(trained_at, [this, work](TorchWorker& worker) {
    const Rng rng(work->order.seed);
    ParamVector model = work->base->Clone();
    auto result = worker.Train({.job = job_info_,
                                .work_order = work->order.id,
                                .base_version = work->order.version,
                                .local_steps = work->order.local_steps,
                                .deadline = work->order.deadline,
                                .rng = rng,
                                .stop = work->stop.get_token(),
                                .progress = {}},
                               work->client->view, model);
    work->status = result.status();
    if (!result.ok()) return;
    work->trained = *result;
    AddScaled(-1.0f, work->base->trainable(), model.trainable());  // trained − base
    work->payload =
        EncodeUpdate(*codec_, model, {.layout = model.layout(), .rng = rng.Split("codec")});
  });
  queue_.Push(trained_at, EventRank::kResult, [this, work] { Trained(work); });
}

void Experiment::Trained(const std::shared_ptr<Work>& work) {
  work->done.get();
  work->base.reset();
  if (!work_.contains(work->order.id)) return;  // recalled
  if (!work->status.ok()) return Fail(work, LossCause::kAbandoned, work->status);
  const absl::Duration upload = Upload(static_cast<int64_t>(work->payload.size()));
  if (upload == absl::ZeroDuration()) return Uploaded(work);
  queue_.Push(now_ + upload, EventRank::kResult, [this, work] { Uploaded(work); });
}

void Experiment::Uploaded(const std::shared_ptr<Work>& work) {
  if (!work_.contains(work->order.id)) return;  // recalled
  const TrainResult& trained = work->trained;
  const UpdateInfo info = {.work_order = work->order.id,
                           .base_version = work->order.version,
                           .num_examples = trained.num_examples,
                           .local_steps = trained.local_steps,
                           .learning_rate = trained.learning_rate,
                           .loss = trained.loss,
                           .accuracy = trained.accuracy};
  if (const absl::Status status = executor_->Check(info, work->payload); !status.ok()) {
    return Fail(work, ClassifyRefusal(status), status);
  }
  work_.erase(work->order.id);
  const auto bytes = static_cast<int64_t>(work->payload.size());
  uplink_bytes_dense_ += 4 * executor_->layout()->size();
  train_flops_ += trained.examples_seen * flops_per_example_;
  payloads_[work->order.id] = std::move(work->payload);
  Deliver({now_, event::UpdateArrived{info, bytes}});
  CheckIn(*work->client);
}

void Experiment::Fail(const std::shared_ptr<Work>& work, LossCause cause,
                      const absl::Status& status) {
  // Only a diverging loss is the client's own; anything else is wrong for everybody.
  if (!absl::IsOutOfRange(status)) {
    failure_ = WithContext(status, absl::StrCat("client ", work->client->id.value()));
    return;
  }
  if (++failures_in_a_row_ > 10 * static_cast<int64_t>(clients_.size())) {
    failure_ = absl::FailedPreconditionError(
        absl::StrCat("no update of ", failures_in_a_row_,
                     " in a row was usable; the last one: ", status.message()));
    return;
  }
  work_.erase(work->order.id);
  Deliver({now_, event::WorkFailed{work->order.id, cause, std::string(status.message())}});
  CheckIn(*work->client);
}

void Experiment::Evaluate(const std::shared_ptr<Work>& work) {
  VirtualClient& client = *work->client;
  const absl::Time at = client.evaluate_only ? now_ : now_ + Download(client, work->order.version);
  work->done = pool_->Start(now_, [this, work](TorchWorker& worker) {
    auto result = worker.Evaluate({.job = job_info_,
                                   .work_order = work->order.id,
                                   .version = work->order.version,
                                   .stop = work->stop.get_token()},
                                  work->client->view, *work->base);
    work->status = result.status();
    if (result.ok()) work->evaluated = *std::move(result);
  });
  queue_.Push(at, EventRank::kEvaluation, [this, work] {
    work->done.get();
    if (!work_.contains(work->order.id)) return;  // recalled
    if (!work->status.ok()) return Fail(work, LossCause::kAbandoned, work->status);
    work_.erase(work->order.id);
    const EvalResult& e = work->evaluated;
    Deliver({now_, event::EvaluationArrived{work->order.id, e.num_examples, e.loss, e.accuracy}});
    CheckIn(*work->client);
  });
}

int64_t Experiment::PlannedSteps(const WorkOrder& order, const VirtualClient& client) const {
  const TrainSpec& train = file_.job.train;
  if (order.local_steps) return *order.local_steps;
  if (train.local_steps) return *train.local_steps;
  const int64_t batches = (client.view.size() + train.batch_size - 1) / train.batch_size;
  return batches * train.local_epochs.value_or(1);
}

absl::Duration Experiment::Download(VirtualClient& client, Version version) {
  if (std::exchange(client.cached, version) == version) return absl::ZeroDuration();
  const int64_t bytes = 4 * executor_->layout()->size();
  downlink_bytes_ += bytes;
  const auto& network = file_.simulation.network;
  return network ? Transfer(bytes, network->downlink_mbps, network->latency_ms)
                 : absl::ZeroDuration();
}

absl::Duration Experiment::Upload(int64_t bytes) const {
  const auto& network = file_.simulation.network;
  return network ? Transfer(bytes, network->uplink_mbps, network->latency_ms)
                 : absl::ZeroDuration();
}

absl::StatusOr<std::shared_ptr<const ParamVector>> Experiment::Snapshot(Version version) {
  std::erase_if(snapshots_, [](const auto& entry) { return entry.second.expired(); });
  if (auto kept = snapshots_[version].lock()) return kept;
  TRIB_ASSIGN_OR_RETURN(ParamVector model, store_->LoadModel(kJob, version));
  auto snapshot = std::make_shared<const ParamVector>(std::move(model));
  snapshots_[version] = snapshot;
  return snapshot;
}

}  // namespace tributary
