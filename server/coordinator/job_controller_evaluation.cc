// The evaluate phase of a job: beside training, by clients that only evaluate or by everyone.
#include <algorithm>
#include <utility>

#include "server/coordinator/job_controller.h"

namespace tributary {

void JobController::On(const event::EvaluationArrived& e) {
  const WorkOrder* known = FindWork(e.work_order);
  if (known == nullptr || known->kind != WorkKind::kEvaluate) return;
  const WorkOrder order = *TakeWork(e.work_order);
  if (order.version != evaluation_.version) return;
  --evaluation_.out;
  const auto weight = static_cast<double>(e.num_examples);
  evaluation_.num_examples += e.num_examples;
  evaluation_.loss_sum += weight * e.loss;
  evaluation_.accuracy_sum += weight * e.accuracy;
  FinishEvaluationIfDone();
}

bool JobController::MayEvaluate(const Client& client) const {
  return client.present && (client.evaluate_only || spec_.evaluate.by == "everyone");
}

bool JobController::OwesEvaluation(const Client& client) const {
  return evaluation_.version >= 0 && progress_.state != JobState::kPaused && MayEvaluate(client) &&
         client.evaluated < evaluation_.version;
}

bool JobController::OfferEvaluation(const ClientId& id, Client& client) {
  if (!OwesEvaluation(client)) return false;
  client.evaluated = evaluation_.version;
  ++evaluation_.out;
  WorkOrder& order = NewWork(id, client, WorkKind::kEvaluate);
  order.version = evaluation_.version;
  order.deadline = evaluation_.deadline;
  Send(order);
  return true;
}

std::vector<ClientId> JobController::ClientsThatMayEvaluate() const {
  if (spec_.evaluate.by != "everyone") return {evaluators_.begin(), evaluators_.end()};
  std::vector<ClientId> all;
  for (const auto& [id, client] : clients_) {
    if (client.present) all.push_back(id);
  }
  return all;
}

void JobController::EvaluateVersion(Version version) {
  next_evaluation_ = version;
  if (evaluation_.version >= 0) {
    FinishEvaluationIfDone();
  } else {
    StartEvaluation();
  }
}

void JobController::StartEvaluation() {
  if (next_evaluation_ < 0) return;
  evaluation_ = {.version = std::exchange(next_evaluation_, -1),
                 .deadline = now_ + spec_.evaluate.deadline_seconds};
  OfferEvaluations();
  FinishEvaluationIfDone();
}

void JobController::OfferEvaluations() {
  std::vector<ClientId> asked = ClientsThatMayEvaluate();
  std::ranges::sort(asked);
  for (const ClientId& id : asked) {
    Client& client = clients_[id];
    if (!client.idle || client.planned || !OfferEvaluation(id, client)) continue;
    if (!client.evaluate_only) GiveUpPlace(id, client);
  }
}

// Done: nobody is out, and nobody present is still to be asked (or a newer version waits).
void JobController::FinishEvaluationIfDone() {
  if (evaluation_.version < 0) return;
  const bool overdue = now_ >= evaluation_.deadline;
  if (evaluation_.out > 0 && !overdue) return;
  const std::vector<ClientId> asked = ClientsThatMayEvaluate();
  const bool everybody = std::all_of(asked.begin(), asked.end(), [this](const ClientId& id) {
    return clients_.at(id).evaluated >= evaluation_.version;
  });
  if (overdue || next_evaluation_ >= 0 || (!asked.empty() && everybody)) FinishEvaluation();
}

void JobController::FinishEvaluation() {
  const RunningEvaluation done = std::exchange(evaluation_, {});
  if (done.num_examples > 0) {
    const auto examples = static_cast<double>(done.num_examples);
    progress_.evaluation = {done.version, done.loss_sum / examples, done.accuracy_sum / examples,
                            done.num_examples};
    const auto& result = progress_.evaluation;
    if (progress_.best.version < 0 || result.accuracy > progress_.best.accuracy)
      progress_.best = result;
    actions_.push_back(action::RecordEvaluation{result.version, result.num_examples, result.loss,
                                                result.accuracy});
    StopIfReached();
  }
  if (next_evaluation_ >= 0) {
    StartEvaluation();
  } else {
    EndIfDrained();
  }
}

}  // namespace tributary
