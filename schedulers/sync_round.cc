#include "schedulers/sync_round.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

// One client may fail this often in a round before the round does without it.
constexpr int64_t kTriesPerClient = 3;

// Products such as 1.1 · 10 lie a rounding error above the integer that is meant.
constexpr double kRounding = 1e-9;

absl::Time WholeNanoseconds(absl::Time t) { return absl::FromUnixNanos(absl::ToUnixNanos(t)); }

}  // namespace

void SyncRoundOptions::Describe(config::Fields<SyncRoundOptions>& fields) {
  fields
      .Add("clients_per_round", &SyncRoundOptions::clients_per_round,
           "updates that complete a round: its goal")
      .Min(1);
  fields
      .Add("fraction", &SyncRoundOptions::fraction,
           "instead of clients_per_round: the share of the clients known when the round starts")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("min_reports", &SyncRoundOptions::min_reports,
           "updates with which a round may close before its goal; absent: the goal")
      .Min(1);
  fields
      .Add("deadline_seconds", &SyncRoundOptions::deadline_seconds,
           "time from the start of a round until it closes or fails")
      .GreaterThan(0)
      .Max(31536000);
  fields
      .Add("over_selection", &SyncRoundOptions::over_selection,
           "clients asked for each update of the goal; what comes after the goal is dropped")
      .Min(1)
      .Max(100);
  fields
      .Add("min_available", &SyncRoundOptions::min_available,
           "idle clients without which no round starts; absent: the goal")
      .Min(1);
  fields
      .Add("on_loss", &SyncRoundOptions::on_loss,
           "a lost client: replace it by another one, or close with the rest")
      .OneOf({"replace", "close"});
}

absl::Status SyncRoundOptions::Validate() const {
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

absl::StatusOr<std::unique_ptr<SyncRoundScheduler>> SyncRoundScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<SyncRoundScheduler>(new SyncRoundScheduler(options, deps.rng));
}

Decision SyncRoundScheduler::Handle(const SchedulerEvent& event) {
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

void SyncRoundScheduler::On(const CheckIn& e, absl::Time, Decision&) {
  if (!state_.busy.contains(e.client)) state_.available.Insert(e.client);
}

void SyncRoundScheduler::On(const CheckOut& e, absl::Time, Decision&) {
  state_.available.Erase(e.client);
}

void SyncRoundScheduler::On(const UpdateAccepted& e, absl::Time, Decision& decision) {
  if (!Release(e.client, e.group)) {
    ++state_.late_dropped;
    decision.drop.push_back(e.work_order);
    return;
  }
  state_.received.insert(e.work_order);
  CloseIfComplete(decision);
}

void SyncRoundScheduler::On(const WorkLost& e, absl::Time, Decision& decision) {
  if (Release(e.client, e.group) && !OwesReplacement()) CloseIfComplete(decision);
}

void SyncRoundScheduler::On(const TimerFired&, absl::Time now, Decision& decision) {
  if (state_.phase == Phase::kOpen && now >= state_.deadline) {
    Received() >= MinReports() ? CloseRound(decision) : FailRound(decision);
  }
  if (OwesReplacement()) {
    Replace(decision);
    CloseIfComplete(decision);
  }
  if (EnoughAvailable()) StartRound(now, decision);
}

void SyncRoundScheduler::On(const Published&, absl::Time, Decision&) {
  if (state_.phase == Phase::kPublishing) state_.phase = Phase::kIdle;
}

int64_t SyncRoundScheduler::GoalNow() const {
  if (!options_.fraction) return options_.clients_per_round;
  const auto known =
      static_cast<double>(state_.available.size()) + static_cast<double>(state_.busy.size());
  return std::max<int64_t>(1, std::llround(*options_.fraction * known));
}

int64_t SyncRoundScheduler::Received() const {
  return static_cast<int64_t>(state_.received.size());
}

int64_t SyncRoundScheduler::MinReports() const {
  return std::min(state_.goal, options_.min_reports.value_or(state_.goal));
}

bool SyncRoundScheduler::EnoughAvailable() const {
  return state_.phase == Phase::kIdle &&
         state_.available.size() >= options_.min_available.value_or(GoalNow());
}

bool SyncRoundScheduler::OwesReplacement() const {
  return state_.phase == Phase::kOpen && options_.on_loss == "replace" &&
         Received() + state_.outstanding < state_.asked && state_.available.size() > 0;
}

bool SyncRoundScheduler::Release(const ClientId& client, GroupId group) {
  const auto it = state_.busy.find(client);
  if (it == state_.busy.end() || it->second != group) return false;
  state_.busy.erase(it);
  if (state_.phase != Phase::kOpen || group != state_.round) return false;
  --state_.outstanding;
  return true;
}

void SyncRoundScheduler::StartRound(absl::Time now, Decision& decision) {
  const int64_t goal = GoalNow();
  const auto wanted = static_cast<int64_t>(
      std::ceil(options_.over_selection * static_cast<double>(goal) - kRounding));
  const std::vector<ClientId> cohort = state_.available.Draw(wanted, state_.rng);
  ++state_.round;
  state_.phase = Phase::kOpen;
  state_.asked = static_cast<int64_t>(cohort.size());
  state_.goal = std::min(goal, state_.asked);
  state_.deadline = WholeNanoseconds(now + options_.deadline_seconds);
  for (const ClientId& client : cohort) Send(client, decision);
}

void SyncRoundScheduler::Replace(Decision& decision) {
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

void SyncRoundScheduler::Send(const ClientId& client, Decision& decision) {
  state_.available.Erase(client);
  state_.busy[client] = state_.round;
  ++state_.tries[client];
  ++state_.outstanding;
  decision.dispatch.push_back(
      {.client = client, .group = state_.round, .local_steps = {}, .deadline = state_.deadline});
}

void SyncRoundScheduler::CloseIfComplete(Decision& decision) {
  if (state_.phase != Phase::kOpen) return;
  const bool nothing_more = state_.outstanding == 0;
  if (Received() >= state_.goal || (nothing_more && Received() >= MinReports())) {
    CloseRound(decision);
  } else if (nothing_more && options_.on_loss == "close") {
    FailRound(decision);
  }
}

void SyncRoundScheduler::CloseRound(Decision& decision) {
  decision.close.push_back(
      {.group = state_.round, .updates = {state_.received.begin(), state_.received.end()}});
  ++state_.rounds;
  EndRound(Phase::kPublishing);
}

void SyncRoundScheduler::FailRound(Decision& decision) {
  decision.drop.insert(decision.drop.end(), state_.received.begin(), state_.received.end());
  ++state_.failed_rounds;
  EndRound(Phase::kIdle);
}

void SyncRoundScheduler::EndRound(Phase next) {
  state_.phase = next;
  state_.goal = state_.asked = state_.outstanding = 0;
  state_.deadline = absl::UnixEpoch();
  state_.received.clear();
  state_.tries.clear();
}

nlohmann::json SyncRoundScheduler::Stats() const {
  return {{"rounds", state_.rounds},
          {"failed_rounds", state_.failed_rounds},
          {"replaced", state_.replaced},
          {"late_dropped", state_.late_dropped}};
}

nlohmann::json SyncRoundScheduler::Save() const { return state_.ToJson(); }

absl::Status SyncRoundScheduler::Load(const nlohmann::json& json) {
  try {
    State state = State::FromJson(json);
    if (state.IsSound() && state.ToJson() == json) {
      state_ = std::move(state);
      return absl::OkStatus();
    }
  } catch (const nlohmann::json::exception&) {
  }
  return absl::DataLossError("not a saved state of the sync_round scheduler");
}

nlohmann::json SyncRoundScheduler::State::ToJson() const {
  const auto by_client = [](const std::map<ClientId, int64_t>& numbers) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [client, number] : numbers) object[client.value()] = number;
    return object;
  };
  nlohmann::json idle = nlohmann::json::array();
  for (const ClientId& client : available) idle.push_back(client.value());
  return {{"rng", rng.state()},
          {"available", std::move(idle)},
          {"busy", by_client(busy)},
          {"phase", static_cast<int64_t>(phase)},
          {"round", round},
          {"goal", goal},
          {"asked", asked},
          {"outstanding", outstanding},
          {"deadline_ns", absl::ToUnixNanos(deadline)},
          {"tries", by_client(tries)},
          {"received", received},
          {"rounds", rounds},
          {"failed_rounds", failed_rounds},
          {"replaced", replaced},
          {"late_dropped", late_dropped}};
}

SyncRoundScheduler::State SyncRoundScheduler::State::FromJson(const nlohmann::json& json) {
  const auto number = [&json](const char* key) { return json.at(key).get<int64_t>(); };
  const auto by_client = [&json](const char* key) {
    std::map<ClientId, int64_t> numbers;
    for (const auto& [client, value] : json.at(key).items()) {
      numbers[ClientId(client)] = value.get<int64_t>();
    }
    return numbers;
  };
  State state;
  state.rng = Rng::FromState(json.at("rng").get<Rng::State>());
  for (const nlohmann::json& client : json.at("available")) {
    state.available.Insert(ClientId(client.get<std::string>()));
  }
  state.busy = by_client("busy");
  state.phase = static_cast<Phase>(std::clamp<int64_t>(number("phase"), 0, 2));
  state.round = number("round");
  state.goal = number("goal");
  state.asked = number("asked");
  state.outstanding = number("outstanding");
  state.deadline = absl::FromUnixNanos(number("deadline_ns"));
  state.tries = by_client("tries");
  state.received = json.at("received").get<std::set<WorkOrderId>>();
  state.rounds = number("rounds");
  state.failed_rounds = number("failed_rounds");
  state.replaced = number("replaced");
  state.late_dropped = number("late_dropped");
  return state;
}

bool SyncRoundScheduler::State::IsSound() const {
  int64_t of_this_round = 0;
  for (const auto& [client, group] : busy) {
    if (available.Contains(client) || group < 1 || group > round) return false;
    if (group == round) ++of_this_round;
  }
  for (const int64_t n : {round, rounds, failed_rounds, replaced, late_dropped}) {
    if (n < 0) return false;
  }
  if (phase != Phase::kOpen) return goal == 0 && asked == 0 && outstanding == 0;
  return goal >= 1 && asked >= goal && outstanding == of_this_round &&
         static_cast<int64_t>(received.size()) < goal;
}

}  // namespace tributary
