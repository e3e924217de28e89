#include "server/coordinator/job_controller.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "schedulers/scheduler_registry.h"
#include "server/coordinator/job_executor.h"

namespace tributary {
namespace {

constexpr double kLeastClientRate = 1.0 / 1024;  // that divergence may bring about

// A hash map's own order is another one in each process.
template <typename Map>
std::vector<typename Map::key_type> SortedKeys(const Map& map) {
  std::vector<typename Map::key_type> keys;
  keys.reserve(map.size());
  for (const auto& [key, value] : map) keys.push_back(key);
  std::ranges::sort(keys);
  return keys;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobController>> JobController::Create(JobSpec spec) {
  auto controller = std::unique_ptr<JobController>(new JobController(std::move(spec)));
  const SchedulerDeps deps{
      .rng = Rng(static_cast<uint64_t>(controller->spec_.seed)).Split("scheduler")};
  TRIB_ASSIGN_OR_RETURN(controller->scheduler_,
                        SchedulerRegistry().Create(controller->spec_.scheduler, deps));
  if (controller->spec_.lora) {
    controller->ranks_.emplace(*controller->spec_.lora, CopiesInTraining(controller->spec_.train));
  }
  return controller;
}

std::vector<JobAction> JobController::Start(absl::Time now, bool has_initial_model) {
  now_ = now;
  if (has_initial_model) {
    installing_ = true;
    actions_.push_back(action::InstallModel{0});
  }
  return std::exchange(actions_, {});
}

std::vector<JobAction> JobController::Handle(const JobEvent& event) {
  if (IsEnded(progress_.state)) return {};
  const bool is_answer = std::holds_alternative<event::VersionPublished>(event.what) ||
                         std::holds_alternative<event::PublishFailed>(event.what);
  if ((publication_ || installing_) && !is_answer) {
    deferred_.push_back(event);
    return {};
  }
  const auto process = [this](const JobEvent& e) {
    now_ = std::max(now_, e.at);
    happened_at_ = e.at;
    std::visit([this](const auto& what) { On(what); }, e.what);
    ChangePhase();
    UseTime();
  };
  process(event);
  while (!deferred_.empty() && !publication_ && !installing_ && !IsEnded(progress_.state)) {
    const JobEvent next = std::move(deferred_.front());
    deferred_.pop_front();
    process(next);
  }
  progress_.in_flight = static_cast<int64_t>(work_.size());
  progress_.clients_without_rank = std::ssize(without_rank_);
  NotePhase();
  UpdateWake();
  return std::exchange(actions_, {});
}

const WorkOrder* JobController::FindWork(WorkOrderId id) const {
  const auto it = work_.find(id);
  return it == work_.end() ? nullptr : &it->second->order;
}

// The order in which all of them are dealt with.
std::vector<ClientId> JobController::SortedClients() const { return SortedKeys(clients_); }

// ---- the first model -------------------------------------------------------------------

void JobController::AskForFirstModel() {
  if (progress_.state != JobState::kInitialising || !work_.empty()) return;
  for (const ClientId& id : SortedClients()) {
    Client& client = clients_[id];
    if (!client.idle || client.evaluate_only) continue;
    WorkOrder& order = NewWork(id, client, WorkKind::kInitialise);
    order.seed = WorkOrderSeed(static_cast<uint64_t>(spec_.seed), 0);
    Send(order);
    return;
  }
}

void JobController::On(const event::ModelMade& e) {
  if (progress_.version >= 0 || (e.work_order != 0 && !TakeWork(e.work_order))) return;
  installing_ = true;
  actions_.push_back(action::InstallModel{e.work_order});
}

// ---- results ---------------------------------------------------------------------------

void JobController::On(const event::UpdateArrived& e) {
  const WorkOrder* known = FindWork(e.info.work_order);
  if (known == nullptr) return;
  const bool contributes = CollectKindOf(known->kind).has_value();
  if (known->kind != WorkKind::kTrain && !contributes) return;
  const WorkOrder order = *TakeWork(e.info.work_order);
  if (happened_at_ > order.deadline) ++progress_.late_updates;
  progress_.uplink_bytes += e.bytes;
  accepted_.resize(static_cast<size_t>(std::max(std::ssize(accepted_), order.id + 1)));
  accepted_[static_cast<size_t>(order.id)] = true;
  waiting_updates_[order.id] = {order.client, e.info, e.bytes, order.seed, order.client_rate};
  divergence_.NoteResult();
  if (contributes) {
    --collection_.out;
    collection_.received.insert(order.id);
    return;
  }
  if (ranks_) {
    ranks_->NoteStep(order.client, (happened_at_ - order.dispatched_at) / e.info.local_steps);
  }
  Client& client = clients_[order.client];
  client.admitted = admission_.Finish(order.client, now_, !OwesEvaluation(client));
  AskScheduler(UpdateAccepted{.client = order.client,
                              .work_order = order.id,
                              .group = order.group,
                              .dispatched_at = order.dispatched_at,
                              .arrived_at = happened_at_,
                              .local_steps = e.info.local_steps,
                              .num_examples = e.info.num_examples,
                              .base_version = order.version,
                              .available = client.admitted});
}

void JobController::On(const event::WorkFailed& e) {
  const std::optional<WorkOrder> order = TakeWork(e.work_order);
  if (!order) return;
  ++progress_.lost[std::string(LossCauseName(e.cause))];
  if (e.cause == LossCause::kNotFinite && order->kind != WorkKind::kEvaluate) {
    NoteDivergence(*order, e.message);
  }
  switch (order->kind) {
    case WorkKind::kInitialise:
      AskForFirstModel();
      break;
    case WorkKind::kTrain:
      clients_[order->client].admitted = admission_.Finish(order->client, now_, false);
      AskScheduler(WorkLost{order->client, order->id, order->group});
      break;
    case WorkKind::kEvaluate:
      if (evaluation_.asked_for(*order)) --evaluation_.out;
      FinishEvaluationIfDone();
      break;
    case WorkKind::kExplore:
    case WorkKind::kSketch:
      --collection_.out;
      --collection_.asked;
      clients_[order->client].collected = 0;  // it may try again
      break;
  }
}

// Where the clients' rate is the coordinator's, it falls to half of what most of them could not
// bear, and stays there or below: nothing but silence tells of the edge, and each try costs orders.
void JobController::NoteDivergence(const WorkOrder& order, const std::string& message) {
  divergence_.NoteLoss(order.client, order.client_rate <= progress_.client_rate);
  const auto out = static_cast<int64_t>(work_.size());
  if (sets_client_rate_ && divergence_.RateIsTooHigh(out) &&
      progress_.client_rate > kLeastClientRate) {
    client_rate_limit_ = std::max(progress_.client_rate / 2, kLeastClientRate);
    progress_.client_rate = client_rate_limit_;
    divergence_.BeginRate();
  }
  if (divergence_.IsHopeless(out) && progress_.state != JobState::kPaused) {
    SetState(JobState::kPaused, absl::StrCat("no update of ", divergence_.in_a_row(),
                                             " in a row was usable; the last one: ", message,
                                             "; a lower learning rate may help"));
  }
}

// ---- the scheduler's will --------------------------------------------------------------

void JobController::AskScheduler(decltype(SchedulerEvent::what) what) {
  if (progress_.version < 0 || draining_ || IsEnded(progress_.state)) return;
  Decision decision = scheduler_->Handle({now_, std::move(what)});
  for (const WorkOrderId id : decision.drop) DropWaiting(id);
  for (Close& close : decision.close) steps_.push_back(std::move(close));
  for (Dispatch& dispatch : decision.dispatch) {
    clients_[dispatch.client].planned = true;
    steps_.push_back(std::move(dispatch));
  }
  if (decision.wake_at) scheduler_wake_ = *decision.wake_at;
  RunSteps();
}

void JobController::RunSteps() {
  while (!steps_.empty() && !publication_ && progress_.state == JobState::kRunning && !draining_) {
    const Step step = std::move(steps_.front());
    steps_.pop_front();
    if (const auto* close = std::get_if<Close>(&step)) {
      StartPublication(*close);
    } else {
      StartTraining(std::get<Dispatch>(step));
    }
  }
}

void JobController::StartPublication(const Close& close) {
  action::PublishVersion version{.version = progress_.version + 1,
                                 .group = close.group,
                                 .parts = {},
                                 .given_coefficients = !close.coefficients.empty(),
                                 .mix_models = close.mix_models,
                                 .beside_momentum = close.beside_momentum,
                                 .client_rate_limit = client_rate_limit_};
  if (version.given_coefficients && close.coefficients.size() != close.updates.size()) {
    return End(JobState::kFailed,
               absl::StrCat("the scheduler '", spec_.scheduler.name, "' closed group ", close.group,
                            " with ", close.updates.size(), " updates and ",
                            close.coefficients.size(), " coefficients"));
  }
  Publication publication{.group = close.group, .updates = std::ssize(close.updates)};
  version.parts.reserve(close.updates.size());
  for (size_t i = 0; i < close.updates.size(); ++i) {
    const WorkOrderId id = close.updates[i];
    const auto it = waiting_updates_.find(id);
    if (it == waiting_updates_.end()) {
      return End(
          JobState::kFailed,
          absl::StrCat("the scheduler '", spec_.scheduler.name, "' closed group ", close.group,
                       " with work order ", id, ", which has no waiting update"));
    }
    const UpdateInfo& info = it->second.info;
    const int64_t staleness = progress_.version - info.base_version;
    const auto weight = static_cast<double>(info.num_examples);
    publication.client_steps += info.local_steps;
    publication.staleness_sum += static_cast<double>(staleness);
    publication.staleness_max = std::max(publication.staleness_max, staleness);
    publication.loss_sum += weight * info.loss;
    publication.num_examples += weight;
    version.parts.push_back(
        {.info = info,
         .client = std::move(it->second.client),
         .staleness = staleness,
         .bytes = it->second.bytes,
         .seed = it->second.seed,
         .coefficient = version.given_coefficients ? close.coefficients[i] : 1.0,
         .rate_ratio = progress_.client_rate / it->second.client_rate});
    waiting_updates_.erase(it);
  }
  publication_ = publication;
  if (follows_deltas_) version.repeated = ShareRepeated(version.parts);
  actions_.push_back(std::move(version));
}

double JobController::ShareRepeated(const std::vector<action::PublishVersion::Part>& parts) {
  decltype(combined_) now;
  int64_t repeated = 0;
  for (const auto& part : parts) {
    const std::pair key(part.client, part.info.base_version);
    if (combined_.contains(key)) ++repeated;
    now.insert(key);
  }
  combined_ = std::move(now);
  return static_cast<double>(repeated) / static_cast<double>(parts.size());
}

void JobController::StartTraining(const Dispatch& dispatch) {
  Client& client = clients_[dispatch.client];
  client.planned = false;
  if (client.busy() || !client.admitted) {
    return End(JobState::kFailed,
               absl::StrCat("the scheduler '", spec_.scheduler.name, "' gave work to client ",
                            dispatch.client.value(), ", which is ",
                            client.busy() ? "still working" : "not available"));
  }
  WorkOrder& order = NewWork(dispatch.client, client, WorkKind::kTrain);
  order.version = progress_.version;
  order.task = progress_.task;
  order.group = dispatch.group;
  order.local_steps = dispatch.local_steps;
  order.client_rate = progress_.client_rate;
  if (clients_follow_ && order.version > 0) order.server_rate = progress_.server_rate;
  if (ranks_) order.adapter_rank = ranks_->RankOf(dispatch.client).value_or(spec_.lora->min_rank());
  order.deadline = dispatch.deadline;
  order.expected_at = dispatch.expected_at;
  order.seed = WorkOrderSeed(static_cast<uint64_t>(spec_.seed), ++training_orders_);
  Send(order);
}

void JobController::DropWaiting(WorkOrderId id) {
  if (waiting_updates_.erase(id) > 0) actions_.push_back(action::DropUpdate{id});
}

void JobController::On(const event::VersionPublished& e) {
  progress_.version = e.version;
  progress_.model_digest = e.model_digest;
  progress_.server_rate = e.server_rate;
  progress_.client_rate = std::min(e.client_rate, client_rate_limit_);
  divergence_.BeginRate();
  if (std::exchange(installing_, false)) {
    training_since_ = now_;
    NoteAdapterMemory(e);
    SetState(JobState::kRunning, "");
    EvaluateVersion(e.version);
    if (explores_) return BeginCollection(CollectKind::kExplore);
    return BeginTraining();
  }
  if (!publication_) return;
  const Publication publication = *std::exchange(publication_, std::nullopt);
  CountPublication(publication);
  StopIfReached();
  if (!draining_ && !publication.learns) EndTaskIfDue();
  if (!draining_ && e.version % spec_.evaluate.every_versions == 0 && phase_ == Phase::kTrain &&
      !task_ends_) {
    EvaluateVersion(e.version);
  }
  EndIfDrained();
  AskScheduler(Published{publication.group, e.version});
  if (publication.learns) FinishCollection();
  RunSteps();
}

void JobController::NoteAdapterMemory(const event::VersionPublished& first) {
  if (!ranks_) return;
  ranks_->SetModel(first.model_bytes, first.adapter_bytes);
  for (const int64_t rank : ranks_->ranks()) {
    progress_.adapter_memory[rank] = ranks_->memory().At(rank);
  }
}

void JobController::CountPublication(const Publication& publication) {
  if (publication.learns) return;
  const auto updates = static_cast<double>(publication.updates);
  progress_.updates += publication.updates;
  progress_.client_steps += publication.client_steps;
  progress_.staleness_sum += publication.staleness_sum;
  progress_.staleness_max = std::max(progress_.staleness_max, publication.staleness_max);
  progress_.last_mean_staleness = publication.staleness_sum / updates;
  progress_.last_train_loss = publication.loss_sum / publication.num_examples;
}

void JobController::On(const event::PublishFailed& e) {
  End(JobState::kFailed,
      absl::StrCat("publishing version ", progress_.version + 1, " failed: ", e.message));
}

// ---- work orders -----------------------------------------------------------------------

WorkOrder& JobController::NewWork(const ClientId& id, Client& client, WorkKind kind) {
  client.idle = false;
  client.order = {.id = next_work_order_++, .client = id, .kind = kind, .dispatched_at = now_};
  work_[client.order.id] = &client;
  return client.order;
}

void JobController::Send(const WorkOrder& order) { actions_.push_back(action::SendWork{order}); }

std::optional<WorkOrder> JobController::TakeWork(WorkOrderId id) {
  const auto it = work_.find(id);
  if (it == work_.end()) return std::nullopt;
  Client* const client = it->second;
  work_.erase(it);
  return std::exchange(client->order, {});
}

void JobController::Recall(bool evaluations_too) {
  for (const WorkOrderId id : SortedKeys(work_)) {
    if (!evaluations_too && FindWork(id)->kind == WorkKind::kEvaluate) continue;
    actions_.push_back(action::RecallWork{id, TakeWork(id)->client});
  }
}

// ---- time, and the end -----------------------------------------------------------------

void JobController::On(const event::TimerFired&) {
  wake_ = absl::InfiniteFuture();  // used up
  if (scheduler_wake_ <= now_ && phase_ == Phase::kTrain) {
    scheduler_wake_ = absl::InfiniteFuture();
    AskScheduler(TimerFired{});
  }
  if (now_ >= evaluation_.deadline) FinishEvaluationIfDone();
  StopIfReached();
  EndIfDrained();
}

void JobController::On(const event::Command& e) {
  switch (e.verb) {
    case event::Command::Verb::kPause:
      if (progress_.state != JobState::kPaused) SetState(JobState::kPaused, "");
      break;
    case event::Command::Verb::kResume:
      if (progress_.state != JobState::kPaused) break;
      SetState(progress_.version < 0 ? JobState::kInitialising : JobState::kRunning, "");
      divergence_.BeginRow();
      AskForFirstModel();
      RunSteps();
      OfferEvaluations();
      OfferCollections();
      break;
    case event::Command::Verb::kCancel:
      End(JobState::kCancelled, "cancelled by the operator");
      break;
    case event::Command::Verb::kNextTask:
      if (spec_.continual && progress_.version >= 0) EndTask();
      break;
  }
}

void JobController::StopIfReached() {
  if (draining_ || progress_.version < 0) return;
  const StopSpec& stop = spec_.stop;
  if (stop.versions && progress_.version >= *stop.versions) {
    Drain(absl::StrCat("reached version ", *stop.versions));
  } else if (stop.updates && progress_.updates >= *stop.updates) {
    Drain(absl::StrCat("reached ", *stop.updates, " updates"));
  } else if (stop.client_steps && progress_.client_steps >= *stop.client_steps) {
    Drain(absl::StrCat("reached ", *stop.client_steps, " client steps"));
  } else if (stop.seconds && now_ >= training_since_ + *stop.seconds) {
    Drain(absl::StrCat("reached ", absl::ToDoubleSeconds(*stop.seconds), " seconds"));
  } else if (stop.target_accuracy && progress_.evaluation.version >= 0 &&
             progress_.evaluation.accuracy >= *stop.target_accuracy) {
    Drain(absl::StrCat("reached accuracy ", *stop.target_accuracy));
  }
}

// Nothing more is trained; the last version is still evaluated.
void JobController::Drain(std::string reason) {
  draining_ = true;
  stop_reason_ = std::move(reason);
  drain_until_ = now_ + spec_.evaluate.deadline_seconds;
  DropPlans();
  // An evaluation of the last version goes on; one of an older version gives way to it.
  const bool evaluating_last =
      evaluation_.version == progress_.version && evaluation_.of_all_tasks();
  Recall(/*evaluations_too=*/!evaluating_last);
  next_evaluation_ = {};
  if (evaluating_last || evaluated_in_all_tasks_ == progress_.version) return;
  evaluation_ = {};
  EvaluateVersion(progress_.version, progress_.task + 1);
}

void JobController::DropPlans() {
  steps_.clear();  // with the job: no client is planned any more
  for (const WorkOrderId id : SortedKeys(waiting_updates_)) DropWaiting(id);
}

void JobController::EndIfDrained() {
  if (!draining_ || IsEnded(progress_.state)) return;
  const bool somebody = !ClientsThatMayEvaluate().empty();
  const bool evaluating = evaluation_.version >= 0 || next_evaluation_.version >= 0;
  if (evaluating && somebody && now_ < drain_until_) return;
  End(JobState::kDone, stop_reason_);
}

void JobController::End(JobState state, std::string reason) {
  if (IsEnded(progress_.state)) return;
  DropPlans();
  Recall(/*evaluations_too=*/true);
  deferred_.clear();
  publication_.reset();
  installing_ = false;
  SetState(state, std::move(reason));
}

void JobController::SetState(JobState state, std::string reason) {
  progress_.state = state;
  progress_.reason = reason;
  actions_.push_back(action::SetState{state, std::move(reason)});
}

void JobController::UpdateWake() {
  absl::Time wish = absl::InfiniteFuture();
  if (!IsEnded(progress_.state)) {
    const bool training = !draining_ && phase_ == Phase::kTrain;
    if (training) wish = std::min(wish, scheduler_wake_);
    if (training && progress_.version >= 0) wish = std::min(wish, admission_.NextChange(now_));
    if (phase_ == Phase::kCollect && now_ < collection_.deadline) {
      wish = std::min(wish, collection_.deadline);
    }
    if (evaluation_.version >= 0) wish = std::min(wish, evaluation_.deadline);
    if (draining_) {
      wish = std::min(wish, drain_until_);
    } else if (spec_.stop.seconds && progress_.version >= 0) {
      wish = std::min(wish, training_since_ + *spec_.stop.seconds);
    }
  }
  if (wish == wake_) return;
  wake_ = wish;
  actions_.push_back(action::WakeAt{wish});
}

}  // namespace tributary
