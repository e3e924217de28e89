#include "schedulers/asynchronous.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace tributary {

Decision AsyncScheduler::Handle(const SchedulerEvent& event) {
  Decision decision;
  std::visit([&](const auto& e) { On(e, decision); }, event.what);
  if (Dispatchable() > 0) decision.wake_at = event.at;
  return decision;
}

void AsyncScheduler::On(const CheckIn& e, Decision&) {
  if (!state_.busy.contains(e.client)) state_.available.Insert(e.client);
}

void AsyncScheduler::On(const CheckOut& e, Decision&) { state_.available.Erase(e.client); }

void AsyncScheduler::On(const UpdateAccepted& e, Decision& decision) {
  state_.busy.erase(e.client);
  if (e.available) state_.available.Insert(e.client);
  state_.version = std::max(state_.version, e.base_version);
  if (rules_.max_staleness && StalenessOf(e.base_version) > *rules_.max_staleness) {
    ++state_.dropped_stale;
    decision.drop.push_back(e.work_order);
    return;
  }
  state_.buffer[e.work_order] = e.base_version;
  if (static_cast<int64_t>(state_.buffer.size()) == rules_.goal) CloseBuffer(decision);
}

void AsyncScheduler::On(const WorkLost& e, Decision&) { state_.busy.erase(e.client); }

void AsyncScheduler::On(const TimerFired&, Decision& decision) {
  for (const ClientId& client : state_.available.Draw(Dispatchable(), state_.rng)) {
    state_.available.Erase(client);
    state_.busy.insert(client);
    decision.dispatch.push_back({.client = client, .group = state_.group, .local_steps = {}});
  }
  state_.max_concurrency_seen =
      std::max(state_.max_concurrency_seen, static_cast<int64_t>(state_.busy.size()));
}

void AsyncScheduler::On(const Published& e, Decision&) {
  state_.version = std::max(state_.version, e.version);
  state_.unpublished = std::max<int64_t>(0, state_.unpublished - 1);
}

int64_t AsyncScheduler::Dispatchable() const {
  if (!rules_.max_concurrency) return state_.available.size();
  const int64_t places = *rules_.max_concurrency - static_cast<int64_t>(state_.busy.size());
  return std::clamp<int64_t>(places, 0, state_.available.size());
}

void AsyncScheduler::CloseBuffer(Decision& decision) {
  Close close;
  close.group = state_.group++;
  close.mix_models = rules_.mix_models;
  for (const auto& [update, base] : state_.buffer) {
    close.updates.push_back(update);
    close.coefficients.push_back(rules_.factor * staleness_->At(StalenessOf(base)));
  }
  decision.close.push_back(std::move(close));
  state_.buffer.clear();
  ++state_.closes;
  ++state_.unpublished;
}

nlohmann::json AsyncScheduler::Stats() const {
  return {{"closes", state_.closes},
          {"dropped_stale", state_.dropped_stale},
          {"max_concurrency_seen", state_.max_concurrency_seen}};
}

absl::Status AsyncScheduler::Load(const nlohmann::json& state) {
  return LoadState(
      state, rules_.name, [this](const State& s) { return IsSound(s); }, state_);
}

bool AsyncScheduler::IsSound(const State& state) const {
  for (const ClientId& client : state.busy) {
    if (state.available.Contains(client)) return false;
  }
  for (const auto& [update, base] : state.buffer) {
    if (base < 0 || base > state.version) return false;
  }
  for (const int64_t n : {state.version, state.unpublished, state.closes, state.dropped_stale,
                          state.max_concurrency_seen}) {
    if (n < 0) return false;
  }
  return state.group == state.closes + 1 && static_cast<int64_t>(state.buffer.size()) < rules_.goal;
}

}  // namespace tributary
