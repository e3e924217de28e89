#include "simulator/virtual_clients.h"

#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/coordinator/job_executor.h"

namespace tributary {
namespace {

constexpr char kEvaluator[] = "evaluator";

}  // namespace

struct VirtualClients::Work {
  struct RequestStop {
    std::stop_source of;
    void operator()() { of.request_stop(); }
  };

  explicit Work(const std::stop_token& run) : with_the_run(run, RequestStop{stop}) {}

  int64_t client = 0;
  WorkOrder order;
  int64_t steps = 0;
  std::stop_source stop;
  std::stop_callback<RequestStop> with_the_run;
  std::future<absl::StatusOr<ParamVector>> first_model;
  std::future<absl::StatusOr<TrainedUpdate>> training;
  std::future<absl::StatusOr<EvalResult>> evaluation;
  TrainedUpdate update;
};

VirtualClients::VirtualClients(const JobSpec& job, const Fleet* fleet, Workload* workload,
                               EventQueue* queue, SimulatedServer* server, std::stop_token stop)
    : train_(job.train),
      liveness_(job.liveness_seconds),
      fleet_(fleet),
      workload_(workload),
      queue_(queue),
      server_(server),
      stop_(std::move(stop)),
      clients_(static_cast<size_t>(fleet->size()) + 1) {
  for (int64_t i = 0; i < fleet->size(); ++i) At(i).jitter = fleet->JitterStream(i);
}

VirtualClients::~VirtualClients() = default;

ClientId VirtualClients::Id(int64_t client) const {
  return IsEvaluator(client) ? ClientId(kEvaluator) : fleet_->Id(client);
}

int64_t VirtualClients::IndexOf(const ClientId& id) const {
  return id.value() == kEvaluator ? fleet_->size() : fleet_->IndexOf(id);
}

// ---- who is there ----------------------------------------------------------------------

void VirtualClients::Start() {
  const int64_t evaluator = fleet_->size();
  queue_->Push(server_->now(), EventRank::kCheckIn, [this, evaluator] { Arrive(evaluator); });
  for (int64_t i = 0; i < fleet_->size(); ++i) AwaitNextPeriod(i);
}

void VirtualClients::AwaitNextPeriod(int64_t client) {
  Client& c = At(client);
  const OnlinePeriod period = fleet_->NextPeriod(client, c.periods, server_->now());
  if (period.from == absl::InfiniteFuture()) return;
  c.leaves_at = period.to;
  queue_->Push(period.from, EventRank::kCheckIn, [this, client] { Arrive(client); });
}

void VirtualClients::Arrive(int64_t client) {
  Client& c = At(client);
  c.presence = Presence::kHere;
  c.came_at = server_->now();
  if (c.leaves_at != absl::InfiniteFuture()) {
    queue_->Push(c.leaves_at, EventRank::kResult, [this, client] { Leave(client); });
  }
  CheckInNow(client);
}

void VirtualClients::Leave(int64_t client) {
  Client& c = At(client);
  if (c.leaves_at != fleet_->device(client).vanishes_at) {
    return Depart(client, LossCause::kAbandoned, "the client went offline");
  }
  c.presence = Presence::kVanished;
  if (const auto it = work_.find(c.order); it != work_.end()) it->second->stop.request_stop();
  queue_->Push(server_->now() + liveness_, EventRank::kResult, [this, client] {
    Depart(client, LossCause::kTimedOut, "no sign of life from the client");
  });
}

void VirtualClients::Depart(int64_t client, LossCause cause, absl::string_view why) {
  Client& c = At(client);
  c.presence = Presence::kAway;
  there_ += server_->now() - c.came_at;
  if (c.order != 0) Lose(c.order, cause, why);
  queue_->Push(server_->now(), EventRank::kCheckIn,
               [this, client] { server_->Deliver(event::ClientGone{Id(client)}); });
  AwaitNextPeriod(client);
}

void VirtualClients::CheckInNow(int64_t client) {
  if (At(client).presence != Presence::kHere || At(client).order != 0) return;
  server_->Deliver(event::ClientAvailable{Id(client), IsEvaluator(client)});
}

void VirtualClients::CheckInLater(int64_t client) {
  queue_->Push(server_->now(), EventRank::kCheckIn, [this, client] { CheckInNow(client); });
}

double VirtualClients::Utilisation() const {
  absl::Duration busy = busy_, there = there_;
  for (const auto& [id, work] : work_) {
    if (work->order.kind == WorkKind::kTrain) busy += server_->now() - work->order.dispatched_at;
  }
  for (int64_t i = 0; i < fleet_->size(); ++i) {
    const Client& c = clients_[static_cast<size_t>(i)];
    if (c.presence != Presence::kAway) there += server_->now() - c.came_at;
  }
  return there > absl::ZeroDuration() ? absl::FDivDuration(busy, there) : 0;
}

// ---- work orders -----------------------------------------------------------------------

void VirtualClients::Send(const WorkOrder& order) {
  auto made = std::make_unique<Work>(stop_);
  Work& work = *made;
  work.client = IndexOf(order.client);
  work.order = order;
  work_[order.id] = std::move(made);
  Client& client = At(work.client);
  client.order = order.id;
  if (client.presence == Presence::kVanished) return;
  if (client.presence == Presence::kAway) {
    queue_->Push(server_->now(), EventRank::kResult, [this, id = order.id] {
      Lose(id, LossCause::kAbandoned, "the client is offline");
    });
    return;
  }
  switch (order.kind) {
    case WorkKind::kInitialise:
      return MakeFirstModel(work);
    case WorkKind::kTrain:
      return Train(work);
    case WorkKind::kEvaluate:
      return Evaluate(work);
  }
}

// The order, if it is still wanted and its client is there to go on with it.
VirtualClients::Work* VirtualClients::Find(WorkOrderId id) {
  const auto it = work_.find(id);
  if (it == work_.end() || At(it->second->client).presence != Presence::kHere) return nullptr;
  return it->second.get();
}

std::unique_ptr<VirtualClients::Work> VirtualClients::Take(WorkOrderId id) {
  const auto it = work_.find(id);
  if (it == work_.end()) return nullptr;
  std::unique_ptr<Work> work = std::move(it->second);
  work_.erase(it);
  work->stop.request_stop();
  At(work->client).order = 0;
  if (work->order.kind == WorkKind::kTrain) busy_ += server_->now() - work->order.dispatched_at;
  return work;
}

void VirtualClients::Recall(WorkOrderId id) {
  if (const auto work = Take(id)) CheckInLater(work->client);
}

void VirtualClients::Stop() {
  for (const auto& [id, work] : work_) work->stop.request_stop();
}

void VirtualClients::Lose(WorkOrderId id, LossCause cause, absl::string_view why) {
  const auto work = Take(id);
  if (work == nullptr) return;
  server_->Deliver(event::WorkFailed{id, cause, std::string(why)});
  CheckInLater(work->client);
}

// What came of the order cannot be used.
void VirtualClients::Refuse(WorkOrderId id, LossCause cause, const absl::Status& status) {
  // Only a diverging loss is the client's own; anything else is wrong for everybody.
  if (!absl::IsOutOfRange(status)) {
    const ClientId client = Id(work_.at(id)->client);
    return server_->Abort(WithContext(status, absl::StrCat("client ", client.value())));
  }
  if (++refused_in_a_row_ > 10 * static_cast<int64_t>(clients_.size())) {
    return server_->Abort(absl::FailedPreconditionError(
        absl::StrCat("no update of ", refused_in_a_row_,
                     " in a row was usable; the last one: ", status.message())));
  }
  Lose(id, cause, status.message());
}

WorkloadTask VirtualClients::TaskOf(const Work& work, absl::Time needed_at) const {
  return {.client = work.client,
          .order = work.order,
          .steps = work.steps,
          .base = nullptr,
          .residual = nullptr,
          .needed_at = needed_at,
          .stop = work.stop.get_token()};
}

bool VirtualClients::GetBase(WorkloadTask& task) {
  auto base = server_->Snapshot(task.order.version);
  if (!base.ok()) return server_->Abort(base.status()), false;
  task.base = *std::move(base);
  return true;
}

// ---- the first model -------------------------------------------------------------------

void VirtualClients::MakeFirstModel(Work& work) {
  work.first_model = workload_->MakeFirstModel(TaskOf(work, server_->now()));
  queue_->Push(server_->now(), EventRank::kResult,
               [this, id = work.order.id] { FirstModelMade(id); });
}

void VirtualClients::FirstModelMade(WorkOrderId id) {
  Work* work = Find(id);
  if (work == nullptr) return;
  auto model = work->first_model.get();
  if (!model.ok()) return server_->Abort(model.status());
  const int64_t client = Take(id)->client;
  server_->KeepFirstModel(*std::move(model));
  server_->Deliver(event::ModelMade{id});
  CheckInLater(client);
}

// ---- training --------------------------------------------------------------------------

// Real work is done only for what will come to something.
void VirtualClients::Train(Work& work) {
  Client& client = At(work.client);
  const WorkOrderId id = work.order.id;
  work.steps = PlannedSteps(work);
  const double jitter = fleet_->DrawJitter(client.jitter);
  const std::optional<double> dropout = fleet_->DrawDropout(work.client, client.training_orders++);
  const absl::Time now = server_->now();
  const absl::Time trained_at = fleet_->TrainedAt(
      work.client, now + Download(work.client, work.order.version), work.steps, jitter);
  if (dropout) {
    const double seconds = *dropout * absl::ToDoubleSeconds(trained_at - now);
    queue_->Push(now + absl::Trunc(absl::Seconds(seconds), absl::Nanoseconds(1)),
                 EventRank::kResult, [this, id] {
                   if (Find(id)) Lose(id, LossCause::kAbandoned, "dropped out");
                 });
    return;
  }
  WorkloadTask task = TaskOf(work, trained_at);
  if (trained_at >= client.leaves_at || !GetBase(task)) return;
  task.residual = client.residual;
  work.training = workload_->Train(std::move(task));
  queue_->Push(trained_at, EventRank::kResult, [this, id] { Trained(id); });
}

void VirtualClients::Trained(WorkOrderId id) {
  Work* work = Find(id);
  if (work == nullptr) return;
  auto update = work->training.get();
  if (!update.ok()) return Refuse(id, LossCause::kAbandoned, update.status());
  work->update = *std::move(update);
  const auto bytes = static_cast<int64_t>(work->update.payload.size());
  const absl::Duration upload = fleet_->UploadTime(work->client, bytes);
  if (upload == absl::ZeroDuration()) return Uploaded(id);
  queue_->Push(server_->now() + upload, EventRank::kResult, [this, id] { Uploaded(id); });
}

void VirtualClients::Uploaded(WorkOrderId id) {
  Work* work = Find(id);
  if (work == nullptr) return;
  const TrainResult& trained = work->update.result;
  const UpdateInfo info = {.work_order = id,
                           .base_version = work->order.version,
                           .num_examples = trained.num_examples,
                           .local_steps = trained.local_steps,
                           .learning_rate = trained.learning_rate,
                           .loss = trained.loss,
                           .accuracy = trained.accuracy};
  const auto bytes = static_cast<int64_t>(work->update.payload.size());
  const absl::Status kept = server_->KeepUpdate(info, std::move(work->update.payload));
  if (!kept.ok()) return Refuse(id, ClassifyRefusal(kept), kept);
  refused_in_a_row_ = 0;
  train_flops_ += trained.examples_seen * workload_->TrainFlopsPerExample();
  const std::unique_ptr<Work> done = Take(id);
  At(done->client).residual = std::move(done->update.residual);
  server_->Deliver(event::UpdateArrived{info, bytes});
  CheckInLater(done->client);
}

int64_t VirtualClients::PlannedSteps(const Work& work) const {
  if (work.order.local_steps) return *work.order.local_steps;
  if (train_.local_steps) return *train_.local_steps;
  const int64_t batches =
      (workload_->Examples(work.client) + train_.batch_size - 1) / train_.batch_size;
  return batches * train_.local_epochs.value_or(1);
}

absl::Duration VirtualClients::Download(int64_t client, Version version) {
  if (std::exchange(At(client).cached, version) == version) return absl::ZeroDuration();
  downlink_bytes_ += server_->model_bytes();
  return fleet_->DownloadTime(client, server_->model_bytes());
}

// ---- evaluation ------------------------------------------------------------------------

void VirtualClients::Evaluate(Work& work) {
  const absl::Time now = server_->now();
  const absl::Time at =
      IsEvaluator(work.client) ? now : now + Download(work.client, work.order.version);
  WorkloadTask task = TaskOf(work, now);
  if (at >= At(work.client).leaves_at || !GetBase(task)) return;
  work.evaluation = workload_->Evaluate(std::move(task));
  queue_->Push(at, EventRank::kEvaluation, [this, id = work.order.id] { Evaluated(id); });
}

void VirtualClients::Evaluated(WorkOrderId id) {
  Work* work = Find(id);
  if (work == nullptr) return;
  const auto result = work->evaluation.get();
  if (!result.ok()) return Refuse(id, LossCause::kAbandoned, result.status());
  const int64_t client = Take(id)->client;
  server_->Deliver(
      event::EvaluationArrived{id, result->num_examples, result->loss, result->accuracy});
  CheckInLater(client);
}

}  // namespace tributary
