// What comes between trainings: collections of what transforms learn from clients, and the way from
// one task to the next.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/coordinator/job_controller.h"

namespace tributary {

void JobController::EndTaskIfDue() {
  if (!spec_.continual || !spec_.continual->versions_per_task) return;
  if (progress_.version - task_base_ >= *spec_.continual->versions_per_task) EndTask();
}

void JobController::CountReport(const Client& client, int64_t by) {
  if (client.present && !client.evaluate_only) reported_[client.task] += by;
}

void JobController::EndTaskIfReported() {
  if (!spec_.continual || !spec_.continual->reported_share || phase_ != Phase::kTrain) return;
  if (progress_.version < 0) return;
  int64_t present = 0, later = 0;
  for (const auto& [task, clients] : reported_) {
    present += clients;
    if (task > progress_.task) later += clients;
  }
  if (later == 0) return;
  const double share = static_cast<double>(later) / static_cast<double>(present);
  if (share >= *spec_.continual->reported_share) EndTask();
}

void JobController::EndTask() {
  if (task_ends_ || draining_) return;
  const int64_t tasks = spec_.continual->tasks;
  if (progress_.task + 1 < tasks) {
    task_ends_ = true;
  } else {
    Drain(absl::StrCat("learnt ", tasks, " tasks"));
    EndIfDrained();
  }
}

bool JobController::ExplorationIsDue() const {
  return explores_ && explores_->every_versions > 0 &&
         progress_.version - explored_ >= explores_->every_versions;
}

// After each event. What the scheduler has decided comes first.
void JobController::ChangePhase() {
  const auto settled = [this] {
    return steps_.empty() && !publication_ && !draining_ && progress_.state == JobState::kRunning;
  };
  for (;;) {
    if (phase_ == Phase::kTrain && !draining_ && (task_ends_ || ExplorationIsDue())) {
      phase_ = Phase::kEnding;
    }
    if (phase_ == Phase::kEnding && settled()) FallQuiet();
    if (phase_ == Phase::kCollect) FinishCollectionIfDone();
    if (phase_ != Phase::kQuiet || !settled()) return;
    if (!task_ends_) return BeginCollection(CollectKind::kExplore);
    EvaluateVersion(progress_.version, progress_.task + 1);
    if (sketches_) return BeginCollection(CollectKind::kSketch);
    BeginNextTask();
  }
}

// No more training for now: who rests is checked out, who works is called back. What the
// scheduler then closes with the updates that it has is still published.
void JobController::FallQuiet() {
  phase_ = Phase::kQuiet;
  std::vector<WorkOrderId> training;
  for (const ClientId& id : SortedClients()) {
    Client& client = clients_[id];
    if (client.busy() && client.order.kind == WorkKind::kTrain) {
      training.push_back(client.order.id);
    } else {
      GiveUpPlace(id, client);
    }
  }
  std::ranges::sort(training);
  for (const WorkOrderId id : training) {
    const WorkOrder order = *TakeWork(id);
    actions_.push_back(action::RecallWork{id, order.client});
    clients_[order.client].admitted = admission_.Finish(order.client, now_, false);
    AskScheduler(WorkLost{order.client, id, order.group});
  }
}

void JobController::BeginNextTask() {
  ++progress_.task;
  task_base_ = progress_.version;
  task_ends_ = false;
  BeginTraining();
}

void JobController::BeginTraining() {
  phase_ = Phase::kTrain;
  EndTaskIfReported();
  if (task_ends_ || draining_) return;
  for (const ClientId& id : SortedClients()) {
    if (Client& client = clients_[id]; client.idle) Announce(id, client);
  }
}

// ---- collections -----------------------------------------------------------------------

void JobController::BeginCollection(CollectKind kind) {
  phase_ = Phase::kCollect;
  collection_ = {.kind = kind,
                 .deadline = now_ + spec_.collection.deadline_seconds,
                 .asked = 0,
                 .out = 0,
                 .received = {}};
  ++collections_;
  OfferCollections();
}

// In an order of their own in each collection: there may be more of them than are asked.
void JobController::OfferCollections() {
  std::vector<ClientId> ids = SortedClients();
  Rng rng = Rng(static_cast<uint64_t>(spec_.seed)).Split("collection");
  rng.Split(static_cast<uint64_t>(collections_)).Shuffle(absl::MakeSpan(ids));
  for (const ClientId& id : ids) {
    if (Client& client = clients_[id]; client.idle) OfferCollection(id, client);
  }
}

bool JobController::OfferCollection(const ClientId& id, Client& client) {
  if (phase_ != Phase::kCollect || publication_ || draining_) return false;
  if (progress_.state != JobState::kRunning || !client.present || client.evaluate_only ||
      client.collected == collections_) {
    return false;
  }
  if (spec_.collection.clients && collection_.asked >= *spec_.collection.clients) return false;
  client.collected = collections_;
  ++collection_.asked;
  ++collection_.out;
  WorkOrder& order = NewWork(id, client, WorkKindOf(collection_.kind));
  order.version = progress_.version;
  order.task = progress_.task;
  order.seed = Rng(static_cast<uint64_t>(spec_.seed))
                   .Split("contribution")
                   .Split(static_cast<uint64_t>(++collection_orders_))
                   .seed();
  Send(order);
  return true;
}

// The minimum is there, and nobody else is expected or there is no more time to wait.
bool JobController::IsCollected() const {
  if (std::ssize(collection_.received) < spec_.collection.minimum) return false;
  if (now_ >= collection_.deadline) return true;
  if (collection_.out > 0) return false;
  if (spec_.collection.clients && collection_.asked >= *spec_.collection.clients) return true;
  return std::all_of(clients_.begin(), clients_.end(), [this](const auto& entry) {
    const Client& client = entry.second;
    return !client.present || client.evaluate_only || client.collected == collections_;
  });
}

void JobController::FinishCollectionIfDone() {
  if (phase_ != Phase::kCollect || publication_ || draining_ ||
      progress_.state != JobState::kRunning || !IsCollected()) {
    return;
  }
  Recall(/*evaluations_too=*/false);
  action::PublishVersion version{.version = progress_.version + 1, .learns = collection_.kind};
  for (const WorkOrderId id : collection_.received) {
    AcceptedUpdate update = std::move(waiting_updates_.extract(id).mapped());
    version.parts.push_back({.info = update.info,
                             .client = std::move(update.client),
                             .bytes = update.bytes,
                             .seed = update.seed});
  }
  publication_ = Publication{.learns = true};
  actions_.push_back(std::move(version));
}

// What was collected has been learnt.
void JobController::FinishCollection() {
  if (collection_.kind == CollectKind::kSketch) return BeginNextTask();
  explored_ = progress_.version;
  ++task_base_;  // it is no version of training
  BeginTraining();
}

// ---- for those who watch ---------------------------------------------------------------

void JobController::NotePhase() {
  if (progress_.version < 0) return;
  switch (phase_) {
    case Phase::kTrain:
      progress_.phase = JobPhase::kTrain;
      break;
    case Phase::kEnding:
    case Phase::kQuiet:
      progress_.phase = task_ends_ ? JobPhase::kEndTask : JobPhase::kExplore;
      break;
    case Phase::kCollect:
      progress_.phase =
          collection_.kind == CollectKind::kSketch ? JobPhase::kSketch : JobPhase::kExplore;
      progress_.contributions = std::ssize(collection_.received);
      progress_.contributions_asked = collection_.asked;
      break;
  }
}

}  // namespace tributary
