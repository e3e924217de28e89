#include "schedulers/rounds.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

// One client may fail this often in a round before the round does without it.
constexpr int64_t kTriesPerClient = 3;

// Products such as 1.1 · 10 lie a rounding error above the integer that is meant.
constexpr double kRounding = 1e-9;

absl::Time WholeNanoseconds(absl::Time t) { return absl::FromUnixNanos(absl::ToUnixNanos(t)); }

}  // namespace

absl::Status RoundRules::Validate() const {
  if (!min_reports) return absl::OkStatus();
  if (!fraction && *min_reports > clients_per_round) {
    return absl::InvalidArgumentError(absl::StrCat("min_reports is ", *min_reports,
                                                   "; allowed are 1 to clients_per_round, ",
                                                   clients_per_round));
  }
  if (min_available && *min_available < *min_reports) {
    return absl::InvalidArgumentError(
        absl::StrCat("min_available is ", *min_available, ", so a round could start with fewer ",
                     "clients than the ", *min_reports, " of min_reports; allowed are ",
                     *min_reports, " and more"));
  }
  return absl::OkStatus();
}

Decision RoundScheduler::Handle(const SchedulerEvent& event) {
  Decision decision;
  std::visit([&](const auto& e) { On(e, event.at, decision); }, event.what);
  const bool timer = std::holds_alternative<TimerFired>(event.what);
  if (!timer && (EnoughAvailable() || OwesReplacement())) {
    decision.wake_at = event.at;
  } else if (state_.phase == Phase::kOpen) {
    decision.wake_at = std::max(state_.deadline, event.at);
  }
  return decision;
}

void RoundScheduler::On(const CheckIn& e, absl::Time, Decision&) {
  if (!state_.busy.contains(e.client)) state_.available.Insert(e.client);
}

void RoundScheduler::On(const CheckOut& e, absl::Time, Decision&) {
  state_.available.Erase(e.client);
}

void RoundScheduler::On(const UpdateAccepted& e, absl::Time, Decision& decision) {
  if (Release(e.client, e.group)) {
    state_.received.insert(e.work_order);
  } else {
    ++state_.late_updates;
    BeLate(e.work_order, decision);
  }
  CloseIfComplete(decision);
}

void RoundScheduler::On(const WorkLost& e, absl::Time, Decision& decision) {
  if (Release(e.client, e.group) && !OwesReplacement()) CloseIfComplete(decision);
}

void RoundScheduler::On(const TimerFired&, absl::Time now, Decision& decision) {
  if (state_.phase == Phase::kOpen && now >= state_.deadline) {
    EnoughReports() ? CloseRound(decision) : FailRound(decision);
  }
  if (OwesReplacement()) {
    Replace(decision);
    CloseIfComplete(decision);
  }
  if (EnoughAvailable()) StartRound(now, decision);
}

void RoundScheduler::On(const Published&, absl::Time, Decision&) {
  if (state_.phase == Phase::kPublishing) state_.phase = Phase::kIdle;
}

int64_t RoundScheduler::GoalNow() const {
  if (!rules_.fraction) return rules_.clients_per_round;
  const auto known =
      static_cast<double>(state_.available.size()) + static_cast<double>(state_.busy.size());
  return std::max<int64_t>(1, std::llround(*rules_.fraction * known));
}

int64_t RoundScheduler::Received() const { return static_cast<int64_t>(state_.received.size()); }

bool RoundScheduler::EnoughReports() const {
  const int64_t reports = Received() + static_cast<int64_t>(state_.late.size());
  return reports >= std::min(state_.goal, rules_.min_reports.value_or(state_.goal));
}

bool RoundScheduler::EnoughAvailable() const {
  return state_.phase == Phase::kIdle &&
         state_.available.size() >= rules_.min_available.value_or(GoalNow());
}

bool RoundScheduler::OwesReplacement() const {
  return state_.phase == Phase::kOpen && rules_.replace_lost &&
         Received() + state_.outstanding < state_.asked && state_.available.size() > 0;
}

bool RoundScheduler::Release(const ClientId& client, GroupId group) {
  const auto it = state_.busy.find(client);
  if (it == state_.busy.end() || it->second != group) return false;
  state_.busy.erase(it);
  if (state_.phase != Phase::kOpen || group != state_.round) return false;
  --state_.outstanding;
  return true;
}

void RoundScheduler::BeLate(WorkOrderId update, Decision& decision) {
  if (rules_.fold_late) {
    state_.late.insert(update);
  } else {
    decision.drop.push_back(update);
  }
}

void RoundScheduler::StartRound(absl::Time now, Decision& decision) {
  const int64_t goal = GoalNow();
  const auto wanted = static_cast<int64_t>(
      std::ceil(rules_.over_selection * static_cast<double>(goal) - kRounding));
  const std::vector<ClientId> cohort = state_.available.Draw(wanted, state_.rng);
  ++state_.round;
  state_.phase = Phase::kOpen;
  state_.asked = static_cast<int64_t>(cohort.size());
  state_.goal = std::min(goal, state_.asked);
  state_.deadline = WholeNanoseconds(now + rules_.deadline);
  for (const ClientId& client : cohort) Send(client, decision);
}

void RoundScheduler::Replace(Decision& decision) {
  while (OwesReplacement()) {
    // One more than the round has asked: somebody new is among them, if there is anybody new.
    const std::vector<ClientId> drawn =
        state_.available.Draw(static_cast<int64_t>(state_.tries.size()) + 1, state_.rng);
    const auto tries = [this](const ClientId& client) {
      const auto it = state_.tries.find(client);
      return it == state_.tries.end() ? 0 : it->second;
    };
    const ClientId& chosen = *std::min_element(
        drawn.begin(), drawn.end(),
        [&](const ClientId& a, const ClientId& b) { return tries(a) < tries(b); });
    if (tries(chosen) >= kTriesPerClient) return;
    ++state_.replaced;
    Send(chosen, decision);
  }
}

void RoundScheduler::Send(const ClientId& client, Decision& decision) {
  state_.available.Erase(client);
  state_.busy[client] = state_.round;
  ++state_.tries[client];
  ++state_.outstanding;
  decision.dispatch.push_back(
      {.client = client, .group = state_.round, .local_steps = {}, .deadline = state_.deadline});
}

void RoundScheduler::CloseIfComplete(Decision& decision) {
  if (state_.phase != Phase::kOpen) return;
  const bool nothing_more = state_.outstanding == 0;
  if (Received() >= state_.goal || (nothing_more && EnoughReports())) {
    CloseRound(decision);
  } else if (nothing_more && !rules_.replace_lost) {
    FailRound(decision);
  }
}

void RoundScheduler::CloseRound(Decision& decision) {
  state_.received.merge(state_.late);
  decision.close.push_back(
      {.group = state_.round, .updates = {state_.received.begin(), state_.received.end()}});
  ++state_.rounds;
  EndRound(Phase::kPublishing);
}

void RoundScheduler::FailRound(Decision& decision) {
  for (const WorkOrderId update : state_.received) BeLate(update, decision);
  ++state_.failed_rounds;
  EndRound(Phase::kIdle);
}

void RoundScheduler::EndRound(Phase next) {
  state_.phase = next;
  state_.goal = state_.asked = state_.outstanding = 0;
  state_.deadline = absl::UnixEpoch();
  state_.received.clear();
  state_.tries.clear();
}

nlohmann::json RoundScheduler::Stats() const {
  return {{"rounds", state_.rounds},
          {"failed_rounds", state_.failed_rounds},
          {"replaced", state_.replaced},
          {rules_.fold_late ? "late_folded" : "late_dropped", state_.late_updates}};
}

absl::Status RoundScheduler::Load(const nlohmann::json& state) {
  return LoadState(state, rules_.name, IsSound, state_);
}

bool RoundScheduler::IsSound(const State& state) {
  int64_t of_this_round = 0;
  for (const auto& [client, group] : state.busy) {
    if (state.available.Contains(client) || group < 1 || group > state.round) return false;
    if (group == state.round) ++of_this_round;
  }
  for (const int64_t n :
       {state.round, state.rounds, state.failed_rounds, state.replaced, state.late_updates}) {
    if (n < 0) return false;
  }
  for (const WorkOrderId update : state.received) {
    if (state.late.contains(update)) return false;
  }
  if (state.phase != Phase::kOpen) {
    const bool known = state.phase == Phase::kIdle || state.phase == Phase::kPublishing;
    return known && state.goal == 0 && state.asked == 0 && state.outstanding == 0 &&
           state.received.empty();
  }
  return state.goal >= 1 && state.asked >= state.goal && state.outstanding == of_this_round &&
         static_cast<int64_t>(state.received.size()) < state.goal;
}

}  // namespace tributary
