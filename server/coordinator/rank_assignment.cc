#include "server/coordinator/rank_assignment.h"

#include <utility>

namespace tributary {
namespace {

constexpr double kMemoryOfSpeed = 0.9;  // of the moving average

}  // namespace

int64_t CopiesInTraining(const TrainSpec& train) {
  constexpr int64_t kValuesAndGradient = 2;
  if (train.optimizer.name != "sgd") return kValuesAndGradient + 2;
  return kValuesAndGradient + (train.optimizer.options.value("momentum", 0.0) > 0 ? 1 : 0);
}

void RankAssignment::Know(const ClientId& client, int64_t wish, int64_t memory_bytes) {
  const auto next = static_cast<int64_t>(clients_.size());
  Client& known = clients_.try_emplace(client, Client{.number = next}).first->second;
  known.wish = wish;
  known.memory_bytes = memory_bytes;
}

void RankAssignment::SetModel(int64_t model_bytes, int64_t bytes_each_rank) {
  memory_.model = model_bytes;
  memory_.each_rank = bytes_each_rank;
}

void RankAssignment::NoteStep(const ClientId& client, absl::Duration duration) {
  const auto it = clients_.find(client);
  if (it == clients_.end()) return;
  double& average = it->second.seconds_per_step;
  const double seconds = absl::ToDoubleSeconds(duration);
  average = average == 0 ? seconds : kMemoryOfSpeed * average + (1 - kMemoryOfSpeed) * seconds;
}

std::optional<int64_t> RankAssignment::RankOf(const ClientId& client) const {
  const auto it = clients_.find(client);
  if (it == clients_.end()) return std::nullopt;
  const Client& known = it->second;
  if (known.wish > 0) return LargestUpTo(known.wish);
  if (spec_.rank) return *spec_.rank;
  if (spec_.assign == "memory") return ByMemory(known);
  if (spec_.assign == "speed") return BySpeed(client, known);
  return spec_.ranks->at(static_cast<size_t>(known.number) % spec_.ranks->size());
}

std::optional<int64_t> RankAssignment::LargestUpTo(int64_t most) const {
  for (const int64_t rank : spec_.Ranks()) {
    if (rank <= most) return rank;
  }
  return std::nullopt;
}

std::optional<int64_t> RankAssignment::ByMemory(const Client& client) const {
  for (const int64_t rank : spec_.Ranks()) {
    if (memory_.At(rank) <= client.memory_bytes) return rank;
  }
  return std::nullopt;
}

int64_t RankAssignment::BySpeed(const ClientId& id, const Client& client) const {
  if (client.seconds_per_step == 0) return spec_.min_rank();
  size_t faster = 0, measured = 0;
  for (const auto& [other_id, other] : clients_) {
    if (other.seconds_per_step == 0) continue;
    ++measured;
    faster += std::pair(other.seconds_per_step, other_id) < std::pair(client.seconds_per_step, id);
  }
  const std::vector<int64_t> ranks = spec_.Ranks();
  return ranks[faster * ranks.size() / measured];
}

}  // namespace tributary
