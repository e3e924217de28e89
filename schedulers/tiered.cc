#include "schedulers/tiered.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {

void TieredOptions::Describe(config::Fields<TieredOptions>& fields) {
  fields.Add("tiers", &TieredOptions::tiers, "groups of clients of about the same speed")
      .Min(1)
      .Max(100);
  fields
      .Add("min_available", &TieredOptions::min_available,
           "idle clients without which the first round, which measures, does not start; absent: "
           "tiers")
      .Min(1);
  fields
      .Add("clients_per_tier_round", &TieredOptions::clients_per_tier_round,
           "clients of a tier's round, drawn at random; absent: all that are idle")
      .Min(1);
  fields
      .Add("retier_versions", &TieredOptions::retier_versions,
           "versions after which tiers are made anew from the newest round times; absent: never")
      .Min(1);
}

absl::Status TieredOptions::Validate() const {
  if (min_available.value_or(tiers) >= tiers) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("min_available is ", *min_available,
                                                 ", too few for ", tiers, " tiers; allowed are ",
                                                 tiers, " and more"));
}

absl::StatusOr<std::unique_ptr<TieredScheduler>> TieredScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<TieredScheduler>(new TieredScheduler(options, deps.rng));
}

Decision TieredScheduler::Handle(const SchedulerEvent& event) {
  Decision decision;
  std::visit([&](const auto& e) { On(e, event.at, decision); }, event.what);
  for (size_t tier = 0; tier < state_.tiers.size(); ++tier) {
    if (MayStart(tier)) decision.wake_at = event.at;
  }
  return decision;
}

void TieredScheduler::On(const CheckIn& e, absl::Time, Decision&) {
  if (state_.busy.contains(e.client)) return;
  HomeOf(e.client).available.Insert(e.client);
  if (Member* member = FindMember(e.client)) member->present = true;
}

void TieredScheduler::On(const CheckOut& e, absl::Time, Decision&) {
  HomeOf(e.client).available.Erase(e.client);
  if (Member* member = FindMember(e.client)) member->present = false;
}

void TieredScheduler::On(const UpdateAccepted& e, absl::Time, Decision& decision) {
  const std::optional<Order> order = Release(e.client, e.group);
  if (!order) {
    decision.drop.push_back(e.work_order);
    return;
  }
  Member& member = state_.members[e.client];
  member.round_ns = std::max<int64_t>(0, absl::ToInt64Nanoseconds(e.arrived_at - e.dispatched_at));
  member.present = true;
  size_t tier = order->tier;
  if (tier == 0 && HasTiers()) {
    tier = member.tier = TierOf({member.round_ns, e.client});
    ++state_.tiers[tier].clients;
  }
  state_.tiers[tier].received[e.work_order] = e.num_examples;
  CloseIfComplete(tier, decision);
}

void TieredScheduler::On(const WorkLost& e, absl::Time, Decision& decision) {
  if (Member* member = FindMember(e.client)) member->present = false;
  if (const auto order = Release(e.client, e.group)) CloseIfComplete(order->tier, decision);
}

void TieredScheduler::On(const TimerFired&, absl::Time now, Decision& decision) {
  for (size_t tier = 0; tier < state_.tiers.size(); ++tier) {
    if (MayStart(tier)) StartRound(tier, now, decision);
  }
}

TieredScheduler::Member* TieredScheduler::FindMember(const ClientId& client) {
  const auto it = state_.members.find(client);
  return it == state_.members.end() ? nullptr : &it->second;
}

TieredScheduler::Tier& TieredScheduler::HomeOf(const ClientId& client) {
  const Member* member = FindMember(client);
  return state_.tiers[member == nullptr ? 0 : member->tier];
}

size_t TieredScheduler::TierOf(const Pace& pace) const {
  const auto it = std::lower_bound(state_.bounds.begin(), state_.bounds.end(), pace);
  return 1 + static_cast<size_t>(it - state_.bounds.begin());
}

double TieredScheduler::Weight(size_t tier) const {
  if (tier == 0) return 1;
  const size_t count = state_.tiers.size() - 1;
  int64_t rounds = 0;
  for (size_t m = 1; m <= count; ++m) {
    if (state_.tiers[m].rounds == 0) return 1.0 / static_cast<double>(count);
    rounds += state_.tiers[m].rounds;
  }
  return static_cast<double>(state_.tiers[count + 1 - tier].rounds) / static_cast<double>(rounds);
}

bool TieredScheduler::MayStart(size_t tier) const {
  const Tier& t = state_.tiers[tier];
  if (tier == 0 && !HasTiers()) {
    return t.group == 0 && t.available.size() >= options_.min_available.value_or(options_.tiers);
  }
  return t.group == 0 && t.available.size() > 0;
}

std::optional<TieredScheduler::Order> TieredScheduler::Release(const ClientId& client,
                                                               GroupId group) {
  const auto it = state_.busy.find(client);
  if (it == state_.busy.end() || it->second.group != group) return std::nullopt;
  const Order order = it->second;
  state_.busy.erase(it);
  if (group == state_.tiers[order.tier].group) --state_.tiers[order.tier].outstanding;
  return order;
}

void TieredScheduler::StartRound(size_t tier, absl::Time now, Decision& decision) {
  Tier& t = state_.tiers[tier];
  const bool newcomers = tier == 0 && HasTiers();
  const bool all = tier == 0 || !options_.clients_per_tier_round;
  const GroupId group = ++state_.group;
  for (const ClientId& client :
       all ? t.available.Members()
           : t.available.Draw(*options_.clients_per_tier_round, state_.rng)) {
    t.available.Erase(client);
    state_.busy[client] = {group, tier};
    if (!newcomers) ++t.outstanding;
    Dispatch dispatch{.client = client, .group = group, .local_steps = {}};
    if (const Member* member = FindMember(client)) {
      dispatch.expected_at = now + absl::Nanoseconds(member->round_ns);
    }
    decision.dispatch.push_back(std::move(dispatch));
  }
  if (!newcomers) t.group = group;
}

void TieredScheduler::CloseIfComplete(size_t tier, Decision& decision) {
  Tier& t = state_.tiers[tier];
  if (t.outstanding > 0) return;
  const GroupId group = std::exchange(t.group, 0);
  if (t.received.empty()) return;
  const double weight = Weight(tier);
  int64_t examples = 0;
  for (const auto& [update, n] : t.received) examples += n;
  Close close;
  close.group = group != 0 ? group : ++state_.group;
  close.mix_models = true;
  for (const auto& [update, n] : t.received) {
    close.updates.push_back(update);
    close.coefficients.push_back(weight * static_cast<double>(n) / static_cast<double>(examples));
  }
  decision.close.push_back(std::move(close));
  t.received.clear();
  ++t.rounds;
  ++state_.closes;
  MakeTiersIfDue();
}

void TieredScheduler::MakeTiersIfDue() {
  const bool due = options_.retier_versions && state_.closes % *options_.retier_versions == 0;
  if (HasTiers() && !due) return;
  std::vector<Pace> present;
  for (const auto& [client, member] : state_.members) {
    if (member.present) present.emplace_back(member.round_ns, client);
  }
  if (present.size() + 1 >= state_.tiers.size()) MakeTiers(std::move(present));
}

void TieredScheduler::MakeTiers(std::vector<Pace> present) {
  std::sort(present.begin(), present.end());
  const size_t count = std::min(present.size(), static_cast<size_t>(options_.tiers));
  if (HasTiers()) ++state_.retierings;
  std::vector<ClientId> waiting;
  for (Tier& tier : state_.tiers) {
    std::ranges::move(tier.available.Members(), std::back_inserter(waiting));
    tier.available = {};
    tier.clients = 0;
  }
  state_.tiers.resize(std::max(state_.tiers.size(), count + 1));
  state_.bounds.clear();
  for (size_t m = 1; m < count; ++m) {
    state_.bounds.push_back(present[m * present.size() / count - 1]);
  }
  for (auto& [client, member] : state_.members) {
    member.tier = TierOf({member.round_ns, client});
    ++state_.tiers[member.tier].clients;
  }
  for (const ClientId& client : waiting) HomeOf(client).available.Insert(client);
}

nlohmann::json TieredScheduler::Stats() const {
  nlohmann::json tiers = nlohmann::json::array();
  for (size_t m = 1; m < state_.tiers.size(); ++m) {
    tiers.push_back({{"clients", state_.tiers[m].clients}, {"rounds", state_.tiers[m].rounds}});
  }
  return {
      {"closes", state_.closes}, {"retierings", state_.retierings}, {"tiers", std::move(tiers)}};
}

absl::Status TieredScheduler::Load(const nlohmann::json& state) {
  return LoadState(state, "tiered", IsSound, state_);
}

bool TieredScheduler::IsSound(const State& state) {
  const size_t count = state.tiers.size();
  if (count == 0 || state.bounds.size() != (count > 1 ? count - 2 : 0)) return false;
  std::vector<int64_t> outstanding(count, 0);
  for (const auto& [client, order] : state.busy) {
    if (order.tier >= count || order.group < 1 || order.group > state.group) return false;
    if (order.group == state.tiers[order.tier].group) ++outstanding[order.tier];
    for (const Tier& tier : state.tiers) {
      if (tier.available.Contains(client)) return false;
    }
  }
  for (size_t m = 0; m < count; ++m) {
    const Tier& tier = state.tiers[m];
    if (tier.outstanding != outstanding[m] || (tier.group == 0) != (tier.outstanding == 0) ||
        (tier.outstanding == 0 && !tier.received.empty()) || tier.rounds < 0) {
      return false;
    }
  }
  return std::all_of(state.members.begin(), state.members.end(), [count](const auto& member) {
    return member.second.tier < count && member.second.round_ns >= 0;
  });
}

}  // namespace tributary
