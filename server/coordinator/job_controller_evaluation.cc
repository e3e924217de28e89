// The evaluate phase of a job: beside training, by clients that only evaluate or by everyone.
#include <algorithm>
#include <utility>

#include "server/coordinator/job_controller.h"

namespace tributary {

void JobController::On(const event::EvaluationArrived& e) {
  const WorkOrder* known = FindWork(e.work_order);
  if (known == nullptr || known->kind != WorkKind::kEvaluate) return;
  const WorkOrder order = *TakeWork(e.work_order);
  if (!evaluation_.asked_for(order)) return;
  --evaluation_.out;
  const auto weight = static_cast<double>(e.num_examples);
  evaluation_.num_examples += e.num_examples;
  evaluation_.loss_sum += weight * e.loss;
  evaluation_.accuracy_sum += weight * e.accuracy;
  evaluation_.task_sums.resize(std::max(evaluation_.task_sums.size(), e.tasks.size()));
  for (size_t i = 0; i < e.tasks.size(); ++i) {
    const auto examples = static_cast<double>(e.tasks[i].num_examples);
    evaluation_.task_sums[i].num_examples += e.tasks[i].num_examples;
    evaluation_.task_sums[i].loss += examples * e.tasks[i].loss;
    evaluation_.task_sums[i].accuracy += examples * e.tasks[i].accuracy;
  }
  FinishEvaluationIfDone();
}

bool JobController::MayEvaluate(const Client& client) const {
  return client.present && (client.evaluate_only || spec_.evaluate.by == "everyone");
}

bool JobController::OwesEvaluation(const Client& client) const {
  return evaluation_.version >= 0 && progress_.state != JobState::kPaused && MayEvaluate(client) &&
         client.evaluated < evaluation_.number;
}

bool JobController::OfferEvaluation(const ClientId& id, Client& client) {
  if (!OwesEvaluation(client)) return false;
  client.evaluated = evaluation_.number;
  ++evaluation_.out;
  WorkOrder& order = NewWork(id, client, WorkKind::kEvaluate);
  order.version = evaluation_.version;
  order.deadline = evaluation_.deadline;
  order.task = evaluation_.task;
  order.tasks = evaluation_.tasks;
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

void JobController::EvaluateVersion(Version version, int64_t tasks) {
  const RunningEvaluation wanted = {.version = version, .task = progress_.task, .tasks = tasks};
  const bool waits = next_evaluation_.version >= 0 && next_evaluation_.of_all_tasks();
  if (!waits || wanted.of_all_tasks()) next_evaluation_ = wanted;
  if (evaluation_.version >= 0) {
    FinishEvaluationIfDone();
  } else {
    StartEvaluation();
  }
}

void JobController::StartEvaluation() {
  if (next_evaluation_.version < 0) return;
  evaluation_ = std::exchange(next_evaluation_, {});
  evaluation_.number = ++evaluations_;
  evaluation_.deadline = now_ + spec_.evaluate.deadline_seconds;
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
    return clients_.at(id).evaluated >= evaluation_.number;
  });
  if (overdue || next_evaluation_.version >= 0 || (!asked.empty() && everybody)) FinishEvaluation();
}

// All tasks up to this one were evaluated.
void JobController::NoteTasks(int64_t task, const std::vector<TaskResult>& results) {
  std::vector<double> row;
  row.reserve(results.size() + 1);
  for (const TaskResult& result : results) row.push_back(result.accuracy);
  if (results.empty()) row.push_back(progress_.evaluation.accuracy);
  progress_.task_accuracy.resize(static_cast<size_t>(task) + 1);
  progress_.task_accuracy.back() = std::move(row);
}

void JobController::FinishEvaluation() {
  const RunningEvaluation done = std::exchange(evaluation_, {});
  if (done.num_examples > 0) {
    const auto examples = static_cast<double>(done.num_examples);
    std::vector<TaskResult> tasks = done.task_sums;
    for (TaskResult& task : tasks) {
      const auto weight = std::max(1.0, static_cast<double>(task.num_examples));
      task.loss /= weight;
      task.accuracy /= weight;
    }
    progress_.evaluation = {done.version, done.loss_sum / examples, done.accuracy_sum / examples,
                            done.num_examples};
    const auto& result = progress_.evaluation;
    if (progress_.best.version < 0 || result.accuracy > progress_.best.accuracy)
      progress_.best = result;
    if (done.of_all_tasks()) {
      evaluated_in_all_tasks_ = done.version;
      NoteTasks(done.task, tasks);
    }
    actions_.push_back(action::RecordEvaluation{result.version, result.num_examples, result.loss,
                                                result.accuracy, std::move(tasks)});
    StopIfReached();
  }
  if (next_evaluation_.version >= 0) {
    StartEvaluation();
  } else {
    EndIfDrained();
  }
}

}  // namespace tributary
