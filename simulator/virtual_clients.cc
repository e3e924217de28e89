#include "simulator/virtual_clients.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/train_spec/train_spec.h"

namespace tributary {
namespace {

using Kind = Happening::Kind;

constexpr char kEvaluator[] = "evaluator";

// Over a client's data; of an exploration at most.
int64_t Passes(const CollectRequest& request) {
  if (request.kind == CollectKind::kSketch) return 1;
  const auto options = config::NodeFromJsonText(request.options_json);
  const auto explore = options.ok() ? config::Parse<ExploreSpec>(*options) : options.status();
  return explore.ok() ? explore->epochs : 1;
}

EventRank RankOf(Kind kind) {
  switch (kind) {
    case Kind::kTimer:
      return EventRank::kTimer;
    case Kind::kArrival:
    case Kind::kGone:
    case Kind::kCheckIn:
    case Kind::kNextTask:
      return EventRank::kCheckIn;
    case Kind::kEvaluated:
      return EventRank::kEvaluation;
    default:
      return EventRank::kResult;
  }
}

}  // namespace

VirtualClients::VirtualClients(const JobSpec& job, const Fleet* fleet, Workload* workload,
                               Happenings* queue, SimulatedServer* server)
    : train_(job.train),
      tasks_(job.continual ? job.continual->tasks : 0),
      liveness_(job.liveness_seconds),
      fleet_(fleet),
      workload_(workload),
      queue_(queue),
      server_(server),
      clients_(static_cast<size_t>(fleet->size()) + 1) {
  for (int64_t i = 0; i < fleet->size(); ++i) At(i).jitter = fleet->JitterStream(i);
}

ClientId VirtualClients::Id(int64_t client) const {
  return IsEvaluator(client) ? ClientId(kEvaluator) : fleet_->Id(client);
}

int64_t VirtualClients::IndexOf(const ClientId& id) const {
  return id.value() == kEvaluator ? fleet_->size() : fleet_->IndexOf(id);
}

void VirtualClients::Push(absl::Time at, Kind kind, int64_t client, WorkOrderId order) {
  queue_->Push(at, RankOf(kind),
               {.kind = kind, .client = static_cast<int32_t>(client), .id = order});
}

void VirtualClients::Happen(const Happening& what) {
  const int64_t client = what.client;
  switch (what.kind) {
    case Kind::kArrival:
      return Arrive(client);
    case Kind::kLeaving:
      return Leave(client);
    case Kind::kMissed:
      return Depart(client, LossCause::kTimedOut, "no sign of life from the client");
    case Kind::kGone:
      return server_->Deliver(event::ClientGone{Id(client)});
    case Kind::kCheckIn:
      return CheckInNow(client);
    case Kind::kNextTask:
      return BeginNextTask();
    default:
      if (Work& work = At(client).work; work.id == what.id) HappenToWork(what.kind, client, work);
  }
}

void VirtualClients::Expect(const Happening& what) const {
  const auto client = static_cast<size_t>(what.client);
  const auto* const record = reinterpret_cast<const char*>(&clients_[client]);
  for (size_t line = 0; line < sizeof(Client); line += alignof(Client)) {
    __builtin_prefetch(record + line);
  }
  if (!IsEvaluator(what.client)) __builtin_prefetch(&fleet_->device(what.client));
}

// ---- who is there ----------------------------------------------------------------------

void VirtualClients::Start() {
  Push(server_->now(), Kind::kArrival, /*client=*/fleet_->size());
  for (int64_t i = 0; i < fleet_->size(); ++i) AwaitNextPeriod(i);
  AwaitNextTask();
}

// When all data move at once, idle clients say so at once; nobody needs it after the last task.
void VirtualClients::AwaitNextTask() {
  const auto length = fleet_->task_length();
  if (!length || next_task_ > tasks_) return;
  Push(absl::UnixEpoch() + next_task_++ * *length, Kind::kNextTask, /*client=*/0);
}

void VirtualClients::BeginNextTask() {
  for (int64_t i = 0; i < fleet_->size(); ++i) CheckInNow(i);
  AwaitNextTask();
}

void VirtualClients::AwaitNextPeriod(int64_t client) {
  Client& c = At(client);
  const OnlinePeriod period = fleet_->NextPeriod(client, c.periods, server_->now());
  if (period.from == absl::InfiniteFuture()) return;
  c.leaves_at = period.to;
  Push(period.from, Kind::kArrival, client);
}

void VirtualClients::Arrive(int64_t client) {
  Client& c = At(client);
  c.presence = Presence::kHere;
  if (!IsEvaluator(client)) there_.Begin(server_->now());
  if (c.leaves_at != absl::InfiniteFuture()) Push(c.leaves_at, Kind::kLeaving, client);
  CheckInNow(client);
}

void VirtualClients::Leave(int64_t client) {
  Client& c = At(client);
  if (c.leaves_at != fleet_->device(client).vanishes_at) {
    return Depart(client, LossCause::kAbandoned, "the client went offline");
  }
  c.presence = Presence::kVanished;
  c.work.result = {};
  Push(server_->now() + liveness_, Kind::kMissed, client);
}

void VirtualClients::Depart(int64_t client, LossCause cause, absl::string_view why) {
  Client& c = At(client);
  c.presence = Presence::kAway;
  there_.End(server_->now());
  if (c.work.id != 0) Lose(client, cause, why);
  Push(server_->now(), Kind::kGone, client);
  AwaitNextPeriod(client);
}

void VirtualClients::CheckInNow(int64_t client) {
  if (At(client).presence != Presence::kHere || At(client).work.id != 0) return;
  const int64_t task =
      IsEvaluator(client) ? 0 : fleet_->TaskOf(server_->now(), At(client).training_orders);
  server_->Deliver(event::ClientAvailable{Id(client), IsEvaluator(client), task});
}

void VirtualClients::CheckInLater(int64_t client) { Push(server_->now(), Kind::kCheckIn, client); }

double VirtualClients::Utilisation() const {
  const absl::Duration busy = busy_.Until(server_->now()), there = there_.Until(server_->now());
  return there > absl::ZeroDuration() ? absl::FDivDuration(busy, there) : 0;
}

// ---- work orders -----------------------------------------------------------------------

void VirtualClients::Send(const WorkOrder& order) {
  const int64_t index = IndexOf(order.client);
  Client& client = At(index);
  client.work = {.id = order.id,
                 .version = order.version,
                 .adapter_rank = static_cast<int32_t>(order.adapter_rank),
                 .kind = order.kind,
                 .result = {}};
  if (order.kind == WorkKind::kTrain) busy_.Begin(order.dispatched_at);
  if (client.presence == Presence::kVanished) return;
  if (client.presence == Presence::kAway) {
    return Push(server_->now(), Kind::kNobodyThere, index, order.id);
  }
  switch (order.kind) {
    case WorkKind::kInitialise:
      return MakeFirstModel(index, order);
    case WorkKind::kTrain:
      return Train(index, order);
    case WorkKind::kEvaluate:
      return Evaluate(index, order);
    case WorkKind::kExplore:
    case WorkKind::kSketch:
      return Contribute(index, order);
  }
}

void VirtualClients::HappenToWork(Kind kind, int64_t client, Work& work) {
  if (kind == Kind::kNobodyThere) {
    return Lose(client, LossCause::kAbandoned, "the client is offline");
  }
  if (At(client).presence != Presence::kHere) return;
  switch (kind) {
    case Kind::kDropout:
      return Lose(client, LossCause::kAbandoned, "dropped out");
    case Kind::kFirstModelMade:
      return FirstModelMade(client, work);
    case Kind::kTrained:
      return Trained(client, work);
    case Kind::kUploaded:
      return Uploaded(client, work);
    case Kind::kEvaluated:
      return Evaluated(client, work);
    default:
      TRIB_CHECK(false);
  }
}

VirtualClients::Work VirtualClients::Take(int64_t client) {
  Work work = std::exchange(At(client).work, {});
  if (work.kind == WorkKind::kTrain) busy_.End(server_->now());
  return work;
}

void VirtualClients::Recall(const ClientId& client, WorkOrderId id) {
  const int64_t index = IndexOf(client);
  if (At(index).work.id != id) return;
  Take(index);
  CheckInLater(index);
}

void VirtualClients::Stop() {
  for (Client& client : clients_) client.work.result = {};
}

void VirtualClients::Lose(int64_t client, LossCause cause, absl::string_view why) {
  const Work work = Take(client);
  server_->Deliver(event::WorkFailed{work.id, cause, std::string(why)});
  CheckInLater(client);
}

// What came of the client's order cannot be used.
void VirtualClients::Refuse(int64_t client, const absl::Status& status) {
  // Only a diverging loss is the client's own; anything else is wrong for everybody.
  if (!absl::IsOutOfRange(status)) {
    return server_->Abort(WithContext(status, absl::StrCat("client ", Id(client).value())));
  }
  Lose(client, LossCause::kNotFinite, status.message());
}

bool VirtualClients::GetBase(WorkloadTask& task) {
  if (task.order.server_rate) {
    auto previous = server_->Snapshot(task.order.version - 1);
    if (!previous.ok() && !absl::IsNotFound(previous.status())) {
      return server_->Abort(previous.status()), false;
    }
    if (previous.ok()) task.previous = *std::move(previous);
  }
  auto base = server_->Snapshot(task.order.version);
  if (!base.ok()) return server_->Abort(base.status()), false;
  task.base = *std::move(base);
  // It changes only while nobody trains.
  task.mask = server_->mask();
  return true;
}

// ---- the first model -------------------------------------------------------------------

void VirtualClients::MakeFirstModel(int64_t client, const WorkOrder& order) {
  const absl::Time now = server_->now();
  At(client).work.result =
      workload_->MakeFirstModel({.client = client, .order = order, .base = {}, .needed_at = now});
  Push(now, Kind::kFirstModelMade, client, order.id);
}

void VirtualClients::FirstModelMade(int64_t client, Work& work) {
  auto model = std::get<Pending<ParamVector>>(std::move(work.result))();
  if (!model.ok()) return server_->Abort(model.status());
  const WorkOrderId id = Take(client).id;
  server_->KeepFirstModel(*std::move(model));
  server_->Deliver(event::ModelMade{id});
  CheckInLater(client);
}

// ---- training --------------------------------------------------------------------------

// Real work is done only for what will come to something.
void VirtualClients::Train(int64_t index, const WorkOrder& order) {
  Client& client = At(index);
  const int64_t steps = PlannedSteps(index, order);
  const double jitter = fleet_->DrawJitter(client.jitter);
  const std::optional<double> dropout = fleet_->DrawDropout(index, client.training_orders++);
  const absl::Time now = server_->now();
  // Who has the base has got that other version with it.
  const bool wants_previous = order.server_rate && client.cached != order.version;
  const absl::Duration previous =
      wants_previous ? Download(index, order.version - 1) : absl::ZeroDuration();
  const absl::Time trained_at =
      fleet_->TrainedAt(index, now + previous + Download(index, order.version), steps, jitter);
  if (dropout) {
    const double seconds = *dropout * absl::ToDoubleSeconds(trained_at - now);
    return Push(now + absl::Trunc(absl::Seconds(seconds), absl::Nanoseconds(1)), Kind::kDropout,
                index, order.id);
  }
  WorkloadTask task = {
      .client = index, .order = order, .steps = steps, .base = {}, .needed_at = trained_at};
  if (trained_at >= client.leaves_at || !GetBase(task)) return;
  task.residual = client.residual;
  client.work.result = workload_->Train(std::move(task));
  Push(trained_at, Kind::kTrained, index, order.id);
}

void VirtualClients::Trained(int64_t client, Work& work) {
  auto update = std::get<Pending<TrainedUpdate>>(std::move(work.result))();
  if (!update.ok()) return Refuse(client, update.status());
  const auto bytes = static_cast<int64_t>(update->payload.size());
  work.result = std::make_unique<TrainedUpdate>(*std::move(update));
  const absl::Duration upload = fleet_->UploadTime(client, bytes);
  if (upload == absl::ZeroDuration()) return Uploaded(client, work);
  Push(server_->now() + upload, Kind::kUploaded, client, work.id);
}

void VirtualClients::Uploaded(int64_t client, Work& work) {
  auto& [trained, payload, residual] = *std::get<std::unique_ptr<TrainedUpdate>>(work.result);
  const UpdateInfo info = {.work_order = work.id,
                           .base_version = work.version,
                           .num_examples = trained.num_examples,
                           .local_steps = trained.local_steps,
                           .learning_rate = trained.learning_rate,
                           .loss = trained.loss,
                           .accuracy = trained.accuracy,
                           .adapter_rank = work.adapter_rank};
  const auto bytes = static_cast<int64_t>(payload.size());
  const absl::Status kept = server_->KeepUpdate(work.kind, info, std::move(payload));
  if (!kept.ok()) return Refuse(client, kept);
  train_flops_ += trained.flops;
  train_flops_dense_ += trained.examples_seen * workload_->TrainFlopsPerExample();
  At(client).residual = std::move(residual);
  Take(client);
  server_->Deliver(event::UpdateArrived{info, bytes});
  CheckInLater(client);
}

// A sketch takes as long in virtual time as a training order of as many steps would.
void VirtualClients::Contribute(int64_t index, const WorkOrder& order) {
  Client& client = At(index);
  auto request = server_->RequestFor(*CollectKindOf(order.kind));
  if (!request.ok()) return server_->Abort(request.status());
  const int64_t steps = PlannedSteps(index, order) * Passes(*request);
  const absl::Time done_at =
      fleet_->TrainedAt(index, server_->now() + Download(index, order.version), steps,
                        fleet_->DrawJitter(client.jitter));
  WorkloadTask task = {
      .client = index, .order = order, .steps = steps, .base = {}, .needed_at = done_at};
  if (done_at >= client.leaves_at || !GetBase(task)) return;
  client.work.result = workload_->Contribute(std::move(task), *std::move(request));
  Push(done_at, Kind::kTrained, index, order.id);
}

int64_t VirtualClients::PlannedSteps(int64_t client, const WorkOrder& order) const {
  if (order.local_steps) return *order.local_steps;
  if (train_.local_steps) return *train_.local_steps;
  const int64_t batches =
      (workload_->Examples(client, order.task) + train_.batch_size - 1) / train_.batch_size;
  return batches * train_.local_epochs.value_or(1);
}

absl::Duration VirtualClients::Download(int64_t client, Version version) {
  const Version held = std::exchange(At(client).cached, version);
  if (held == version) return absl::ZeroDuration();
  const int64_t bytes = server_->DownloadBytes(version, held);
  downlink_bytes_ += bytes;
  return fleet_->DownloadTime(client, bytes);
}

// ---- evaluation ------------------------------------------------------------------------

void VirtualClients::Evaluate(int64_t client, const WorkOrder& order) {
  const absl::Time now = server_->now();
  const absl::Time at = IsEvaluator(client) ? now : now + Download(client, order.version);
  WorkloadTask task = {.client = client, .order = order, .base = {}, .needed_at = now};
  if (at >= At(client).leaves_at || !GetBase(task)) return;
  task.residual = At(client).residual;
  At(client).work.result = workload_->Evaluate(std::move(task));
  Push(at, Kind::kEvaluated, client, order.id);
}

void VirtualClients::Evaluated(int64_t client, Work& work) {
  const auto results = std::get<Pending<std::vector<EvalResult>>>(std::move(work.result))();
  if (!results.ok()) return Refuse(client, results.status());
  const EvalResult& last = results->back();
  event::EvaluationArrived arrived{
      Take(client).id, last.num_examples, last.loss, last.accuracy, {}};
  for (const EvalResult& task : *results) {
    if (results->size() > 1) {
      arrived.tasks.push_back({task.num_examples, task.loss, task.accuracy});
    }
  }
  server_->Deliver(std::move(arrived));
  CheckInLater(client);
}

}  // namespace tributary
