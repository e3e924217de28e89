// Who is there, who may work, and whom the scheduler is told of.
#include <utility>

#include "server/coordinator/job_controller.h"

namespace tributary {

void JobController::On(const event::ClientAvailable& e) {
  Client& client = clients_[e.client];
  CountReport(client, -1);
  client.evaluate_only = e.evaluate_only;
  client.task = e.task;
  client.present = true;
  CountReport(client, 1);
  if (e.evaluate_only) evaluators_.insert(e.client);
  if (ranks_ && !e.evaluate_only) ranks_->Know(e.client, e.adapter_rank, e.memory_bytes);
  EndTaskIfReported();
  if (IsEnded(progress_.state)) return;
  if (client.busy()) return;
  if (client.idle) {
    // It may have named another rank, or more memory.
    if (without_rank_.contains(e.client)) Announce(e.client, client);
    return;
  }
  client.idle = true;
  if (client.planned) return;
  if (OfferEvaluation(e.client, client)) {
    if (!client.evaluate_only) GiveUpPlace(e.client, client);
    return;
  }
  if (OfferCollection(e.client, client)) return;
  Announce(e.client, client);
  AskForFirstModel();
}

// Tells the scheduler of an idle client, if it may work now.
void JobController::Announce(const ClientId& id, Client& client) {
  if (client.evaluate_only || progress_.version < 0 || phase_ != Phase::kTrain) return;
  if (ranks_ && !ranks_->RankOf(id)) {
    without_rank_.insert(id);
    return;
  }
  without_rank_.erase(id);
  if (!client.admitted && !admission_.Ask(id, now_)) return;
  client.admitted = true;
  AskScheduler(CheckIn{id});
}

void JobController::AdmitWaiting() {
  for (const ClientId& id : admission_.Admit(now_)) {
    clients_[id].admitted = true;
    AskScheduler(CheckIn{id});
  }
}

// Orders that are out go on; who has none waits for the next window.
void JobController::CheckOutAtClosing() {
  for (const ClientId& id : SortedClients()) {
    Client& client = clients_[id];
    if (!client.admitted || client.busy() || client.planned) continue;
    GiveUpPlace(id, client);
    if (client.idle) admission_.Ask(id, now_);
  }
}

void JobController::GiveUpPlace(const ClientId& id, Client& client) {
  if (!std::exchange(client.admitted, false)) return admission_.Withdraw(id);
  admission_.FreePlace();
  AskScheduler(CheckOut{id});
}

// What time alone brings, after each event.
void JobController::UseTime() {
  if (progress_.version < 0 || draining_ || IsEnded(progress_.state) || publication_) return;
  if (phase_ != Phase::kTrain) return;
  const bool is_open = admission_.IsOpen(now_);
  if (std::exchange(was_open_, is_open) && !is_open) CheckOutAtClosing();
  AdmitWaiting();
}

int64_t JobController::ReportedTask(const ClientId& client) const {
  const auto it = clients_.find(client);
  return it == clients_.end() ? 0 : it->second.task;
}

absl::Time JobController::NotBefore(const ClientId& client, absl::Time now) const {
  const auto it = clients_.find(client);
  const Client known = it == clients_.end() ? Client() : it->second;
  const bool may_evaluate = known.evaluate_only || spec_.evaluate.by == "everyone";
  const bool other_work = progress_.version < 0 || phase_ != Phase::kTrain ||
                          (may_evaluate && known.evaluated < evaluation_.number);
  return known.evaluate_only || other_work ? now : admission_.NotBefore(client, now);
}

void JobController::On(const event::ClientGone& e) {
  const auto it = clients_.find(e.client);
  if (it == clients_.end()) return;
  Client& client = it->second;
  CountReport(client, -1);
  client.present = false;
  client.idle = false;
  evaluators_.erase(e.client);
  without_rank_.erase(e.client);
  if (!client.busy() && !client.planned) GiveUpPlace(e.client, client);
  FinishEvaluationIfDone();
  EndTaskIfReported();
}

}  // namespace tributary
