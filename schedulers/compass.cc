#include "schedulers/compass.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/numeric/int128.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr int64_t kMillion = 1'000'000;

// A first group waits this many times as long as its first arrival took: by then every client
// of a like fleet is in, and nobody waits for one that is twice as slow.
constexpr int64_t kFirstGroupPatience = 2;

absl::Duration Stretch(absl::Duration d, int64_t ppm) {
  const absl::int128 ns = absl::int128(absl::ToInt64Nanoseconds(d)) * ppm / kMillion;
  return absl::Nanoseconds(static_cast<int64_t>(ns));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CompassScheduler>> CompassScheduler::Create(const Options& options,
                                                                           const SchedulerDeps&) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  ResolvedCompassOptions resolved = Resolve(options);
  TRIB_ASSIGN_OR_RETURN(auto staleness, StalenessRegistry().Create(resolved.staleness));
  return std::unique_ptr<CompassScheduler>(
      new CompassScheduler(std::move(resolved), std::move(staleness)));
}

Decision CompassScheduler::Handle(const SchedulerEvent& event) {
  Decision decision;
  std::visit([&](const auto& e) { On(e, event.at, decision); }, event.what);
  Counts& counts = state_.counts;
  counts.open_max = std::max(counts.open_max, static_cast<int64_t>(open_.size()));
  for (const GroupId id : open_) {
    const Group& group = state_.groups.at(id);
    if (!group.timed) continue;
    const absl::Time wish = std::max(group.latest_at, event.at);
    decision.wake_at = std::min(decision.wake_at.value_or(wish), wish);
  }
  return decision;
}

// ---- clients ---------------------------------------------------------------------------

void CompassScheduler::On(const CheckIn& e, absl::Time now, Decision& decision) {
  Client& client = state_.clients[e.client];
  client.available = true;
  if (client.place == Place::kWorking || client.place == Place::kResting) return;
  Move(client, Place::kIdle, 0);
  client.time.known() ? Assign(e.client, client, now, decision)
                      : StartFirst(e.client, client, decision);
}

void CompassScheduler::On(const CheckOut& e, absl::Time, Decision&) {
  const auto it = state_.clients.find(e.client);
  if (it == state_.clients.end()) return;
  it->second.available = false;
  if (it->second.place != Place::kWorking) Move(it->second, Place::kAway, 0);
}

// Who never came back is forgotten, its speed too; it may rejoin as a newcomer.
void CompassScheduler::On(const WorkLost& e, absl::Time, Decision& decision) {
  const auto it = state_.clients.find(e.client);
  if (it == state_.clients.end() || it->second.group != e.group) return;
  ++state_.counts.lost;
  if (const auto group = state_.groups.find(e.group); group != state_.groups.end()) {
    --group->second.waiting;
    Exit(group->second, it->second);
    CloseIfComplete(e.group, decision);
  }
  Move(it->second, Place::kAway, 0);
  state_.clients.erase(it);
}

// Who is away is not counted among the clients, but its speed is remembered.
void CompassScheduler::Move(Client& client, Place place, GroupId group) {
  const bool was_away = client.place == Place::kAway, is_away = place == Place::kAway;
  client.place = place;
  client.group = group;
  if (was_away == is_away) return;
  state_.present += is_away ? -1 : 1;
  if (!client.time.known()) return;
  const int64_t sign = is_away ? -1 : 1;
  state_.updates += sign * client.updates;
  state_.reporters += sign;
  state_.examples += sign * client.examples;
  if (is_away) {
    full_tasks_.erase(full_tasks_.find(FullTask(client)));
  } else {
    full_tasks_.insert(FullTask(client));
  }
}

void CompassScheduler::Learn(Client& client, const UpdateAccepted& e) {
  if (client.time.known()) {
    full_tasks_.erase(full_tasks_.find(FullTask(client)));
  } else {
    ++state_.reporters;
  }
  state_.examples += e.num_examples - std::exchange(client.examples, e.num_examples);
  client.time.Observe(e.arrived_at - e.dispatched_at, e.local_steps,
                      {.affine = options_.affine, .momentum_ppm = options_.momentum_ppm});
  full_tasks_.insert(FullTask(client));
  ++client.updates;
  ++state_.updates;
}

// ---- updates ---------------------------------------------------------------------------

void CompassScheduler::On(const UpdateAccepted& e, absl::Time now, Decision& decision) {
  const auto it = state_.clients.find(e.client);
  if (it == state_.clients.end() || it->second.group != e.group) {
    decision.drop.push_back(e.work_order);
    return;
  }
  it->second.available = e.available;
  if (const auto group = state_.groups.find(e.group); group != state_.groups.end()) {
    ArriveInGroup(e, it->second, group->second, now, decision);
  } else {
    ArriveAlone(e, it->second, decision);
  }
}

void CompassScheduler::ArriveAlone(const UpdateAccepted& e, Client& client, Decision& decision) {
  ++state_.counts.first;
  Learn(client, e);
  Move(client, Place::kResting, e.group);
  Apply(e.group, {{e.work_order, e.client, e.base_version, e.local_steps}}, {e.client}, decision);
  decision.close.back().beside_momentum = true;
}

void CompassScheduler::ArriveInGroup(const UpdateAccepted& e, Client& client, Group& group,
                                     absl::Time now, Decision& decision) {
  --group.waiting;
  Exit(group, client);
  Learn(client, e);
  if (group.first) ++state_.counts.first;
  if (!group.timed) SetFirstDeadline(group, e);
  const Arrival arrival = {e.work_order, e.client, e.base_version, e.local_steps};
  if (!group.open || e.arrived_at > group.latest_at) {
    if (!group.first) ++state_.counts.late;
    state_.late.push_back(arrival);
    CloseIfComplete(e.group, decision);
    Move(client, Place::kIdle, 0);
    if (client.available) Assign(e.client, client, now, decision);
    return;
  }
  Enter(group, client);
  group.updates.push_back(arrival);
  group.arrived.push_back(e.client);
  Move(client, Place::kResting, e.group);
  CloseIfComplete(e.group, decision);
}

void CompassScheduler::SetFirstDeadline(Group& group, const UpdateAccepted& e) {
  group.timed = true;
  group.expected_at = e.arrived_at;
  group.latest_at = e.dispatched_at + kFirstGroupPatience * (e.arrived_at - e.dispatched_at);
  state_.first_group = 0;
}

// ---- groups ----------------------------------------------------------------------------

void CompassScheduler::On(const TimerFired&, absl::Time now, Decision& decision) {
  for (const GroupId id : std::vector<GroupId>(open_.begin(), open_.end())) {
    Group& group = state_.groups.at(id);
    if (!group.timed || group.latest_at > now) continue;
    ++state_.counts.by_deadline;
    if (group.updates.empty()) {
      group.open = false;
      open_.erase(id);
    } else {
      Finalize(id, decision);
    }
  }
}

void CompassScheduler::CloseIfComplete(GroupId id, Decision& decision) {
  const Group& group = state_.groups.at(id);
  if (group.waiting > 0) return;
  if (group.open && !group.updates.empty()) return Finalize(id, decision);
  open_.erase(id);
  state_.groups.erase(id);
  if (state_.first_group == id) state_.first_group = 0;
}

void CompassScheduler::Finalize(GroupId id, Decision& decision) {
  Group& group = state_.groups.at(id);
  ++state_.counts.groups;
  std::vector<Arrival> batch = std::exchange(group.updates, {});
  std::ranges::move(std::exchange(state_.late, {}), std::back_inserter(batch));
  std::vector<ClientId> arrived = KnownBySpeed(std::exchange(group.arrived, {}));
  group.open = false;
  open_.erase(id);
  Apply(id, std::move(batch), std::move(arrived), decision);
  if (group.waiting == 0) state_.groups.erase(id);
}

// Who has left since, and was then lost with other work, is not known any more.
std::vector<ClientId> CompassScheduler::KnownBySpeed(std::vector<ClientId> ids) const {
  std::vector<std::pair<int64_t, size_t>> known;  // places in `ids`: in order of arrival
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto it = state_.clients.find(ids[i]);
    if (it != state_.clients.end()) known.emplace_back(FullTask(it->second), i);
  }
  std::ranges::sort(known);
  std::vector<ClientId> sorted;
  sorted.reserve(known.size());
  for (const auto& [task, i] : known) sorted.push_back(std::move(ids[i]));
  return sorted;
}

void CompassScheduler::Apply(GroupId id, std::vector<Arrival> batch,
                             std::vector<ClientId> then_assign, Decision& decision) {
  std::sort(batch.begin(), batch.end(),
            [](const Arrival& a, const Arrival& b) { return a.work_order < b.work_order; });
  Close close{.group = id, .updates = {}, .coefficients = Coefficients(batch)};
  for (const Arrival& arrival : batch) close.updates.push_back(arrival.work_order);
  decision.close.push_back(std::move(close));
  state_.publishing[id] = std::move(then_assign);
}

// Members are assigned when the version that they are to start from is there.
void CompassScheduler::On(const Published& e, absl::Time now, Decision& decision) {
  state_.version = e.version;
  const auto node = state_.publishing.extract(e.group);
  if (node.empty()) return;
  for (const ClientId& id : node.mapped()) {
    const auto it = state_.clients.find(id);
    if (it == state_.clients.end() || it->second.place != Place::kResting ||
        it->second.group != e.group) {
      continue;
    }
    Move(it->second, Place::kIdle, 0);
    if (it->second.available) Assign(id, it->second, now, decision);
  }
}

std::vector<double> CompassScheduler::Coefficients(const std::vector<Arrival>& batch) const {
  const Version version = state_.version + static_cast<Version>(state_.publishing.size());
  double shares = 0, weighted_steps = 0;
  std::vector<double> coefficients;
  for (const Arrival& u : batch) {
    const double share = Share(u.client);
    shares += share;
    weighted_steps += share * static_cast<double>(u.steps);
    coefficients.push_back(options_.mixing_rate * staleness_->At(version - u.base) * share);
  }
  if (options_.normalize_steps && batch.size() > 1) {
    for (size_t i = 0; i < batch.size(); ++i) {
      coefficients[i] *= weighted_steps / shares / static_cast<double>(batch[i].steps);
    }
  }
  return coefficients;
}

// p_u
double CompassScheduler::Share(const ClientId& id) const {
  double share = 1.0 / static_cast<double>(std::max(state_.present, options_.expected_clients));
  const auto it = state_.clients.find(id);
  if (it == state_.clients.end() || state_.reporters == 0) return share;
  const auto reporters = static_cast<double>(state_.reporters);
  const auto mean = [&](int64_t sum) { return static_cast<double>(sum) / reporters; };
  if (options_.by_examples) {
    share *= static_cast<double>(it->second.examples) / mean(state_.examples);
  }
  if (options_.participation_cap) {
    const double rarity = mean(state_.updates) / static_cast<double>(it->second.updates);
    share *= std::min(*options_.participation_cap, rarity);
  }
  return share;
}

// ---- ASSIGN ----------------------------------------------------------------------------

void CompassScheduler::StartFirst(const ClientId& id, Client& client, Decision& decision) {
  GroupId group = state_.first_group;
  if (!options_.first_group) {
    group = state_.next_group++;
  } else if (group == 0) {
    group = state_.first_group = NewGroup({.first = true, .timed = false});
  }
  Move(client, Place::kWorking, group);
  client.available = false;
  if (options_.first_group) {
    ++state_.groups.at(group).waiting;
    Enter(state_.groups.at(group), client);
  }
  decision.dispatch.push_back({.client = id, .group = group, .local_steps = options_.first_steps});
}

void CompassScheduler::Assign(const ClientId& id, Client& client, absl::Time now,
                              Decision& decision) {
  if (!Join(id, client, now, decision)) CreateGroup(id, client, now, decision);
}

bool CompassScheduler::Join(const ClientId& id, Client& client, absl::Time now,
                            Decision& decision) {
  GroupId best = 0;
  int64_t best_steps = 0;
  for (const GroupId candidate : open_) {
    const Group& group = state_.groups.at(candidate);
    if (group.first) continue;
    int64_t steps = StepsToJoin(client, group, now);
    if (options_.fast_idles && steps > options_.join_limit) {
      // It would wait: the nearest of such groups is the best of them.
      steps = options_.join_limit;
      if (steps == best_steps && group.expected_at >= state_.groups.at(best).expected_at) continue;
    }
    if (steps < MinSteps() || steps > options_.join_limit || steps < best_steps) continue;
    best = candidate;
    best_steps = steps;
  }
  if (best == 0) return false;
  ++state_.counts.joins;
  Send(id, client, best, best_steps, now, decision);
  return true;
}

int64_t CompassScheduler::StepsToJoin(const Client& client, const Group& group,
                                      absl::Time now) const {
  const int64_t steps = client.time.StepsWithin(group.expected_at - now);
  if (options_.admission_margin == 0) return steps;
  const double slack = 1.0 + options_.admission_margin * client.time.variation();
  const auto safe_ppm = static_cast<int64_t>(kMillion / slack);
  return std::min(steps, client.time.StepsWithin(Stretch(group.latest_at - now, safe_ppm)));
}

// Aims at the time by which the fastest member of a group could do one full task more, even if
// that group runs to its deadline: then the two groups meet.
void CompassScheduler::CreateGroup(const ClientId& id, Client& client, absl::Time now,
                                   Decision& decision) {
  std::optional<int64_t> aim;
  for (const GroupId other : open_) {
    const Group& group = state_.groups.at(other);
    if (group.first || now >= group.latest_at) continue;
    const absl::Duration fastest = absl::Nanoseconds(*group.full_tasks.begin());
    const int64_t steps = client.time.StepsWithin(group.latest_at + fastest - now);
    if (steps <= options_.max_steps) aim = std::max(aim.value_or(steps), steps);
  }
  const int64_t steps = aim ? std::max(MinSteps(), *aim) : options_.max_steps;
  const absl::Duration task = client.time.Predict(steps);
  ++state_.counts.creations;
  const GroupId group = NewGroup(
      {.expected_at = now + task, .latest_at = now + Stretch(task, options_.lateness_ppm)});
  Send(id, client, group, steps, now, decision);
}

void CompassScheduler::Send(const ClientId& id, Client& client, GroupId group_id, int64_t steps,
                            absl::Time now, Decision& decision) {
  Group& group = state_.groups.at(group_id);
  ++group.waiting;
  Enter(group, client);
  Move(client, Place::kWorking, group_id);
  client.available = false;
  decision.dispatch.push_back({.client = id,
                               .group = group_id,
                               .local_steps = steps,
                               .deadline = group.latest_at,
                               .expected_at = now + client.time.Predict(steps)});
}

GroupId CompassScheduler::NewGroup(Group group) {
  const GroupId id = state_.next_group++;
  state_.groups[id] = std::move(group);
  open_.insert(id);
  return id;
}

int64_t CompassScheduler::FullTask(const Client& client) const {
  return absl::ToInt64Nanoseconds(client.time.Predict(options_.max_steps));
}

void CompassScheduler::Enter(Group& group, const Client& client) {
  if (client.time.known()) group.full_tasks.insert(FullTask(client));
}

void CompassScheduler::Exit(Group& group, const Client& client) {
  if (!client.time.known()) return;
  group.full_tasks.erase(group.full_tasks.find(FullTask(client)));
}

int64_t CompassScheduler::MinSteps() const {
  if (!options_.auto_bounds || full_tasks_.empty()) return options_.min_steps;
  const int64_t within = absl::Nanoseconds(*full_tasks_.begin()) * options_.max_steps /
                         absl::Nanoseconds(*full_tasks_.rbegin());
  return std::clamp(within, options_.lowest_steps, options_.min_steps);
}

// ---- state -----------------------------------------------------------------------------

double CompassScheduler::SpeedRatio() const {
  if (full_tasks_.empty()) return 1.0;
  return absl::FDivDuration(absl::Nanoseconds(*full_tasks_.rbegin()),
                            absl::Nanoseconds(*full_tasks_.begin()));
}

nlohmann::json CompassScheduler::Stats() const {
  const Counts& c = state_.counts;
  std::vector<std::string> warnings = CompassWarnings(options_);
  const double allowed = static_cast<double>(options_.max_steps) / static_cast<double>(MinSteps());
  if (SpeedRatio() > allowed) {
    warnings.push_back(absl::StrFormat(
        "the slowest client takes %.1f times as long for a full order as the fastest, and "
        "max_local_steps / min_local_steps is %.1f: groups cannot meet; lower min_local_steps, or "
        "use preset adaptive",
        SpeedRatio(), allowed));
  }
  return {{"groups", c.groups},
          {"groups_by_deadline", c.by_deadline},
          {"open_groups_max", c.open_max},
          {"joins", c.joins},
          {"creations", c.creations},
          {"first_updates", c.first},
          {"late_updates", c.late},
          {"lost", c.lost},
          {"speed_ratio", SpeedRatio()},
          {"min_local_steps", MinSteps()},
          {"warnings", std::move(warnings)}};
}

absl::Status CompassScheduler::Load(const nlohmann::json& json) {
  const auto is_sound = [](const State& s) {
    int64_t present = 0, updates = 0, reporters = 0, examples = 0;
    std::map<GroupId, int64_t> working;
    for (const auto& [id, client] : s.clients) {
      if (client.place < Place::kAway || client.place > Place::kResting) return false;
      if (client.place == Place::kWorking) ++working[client.group];
      if (client.place == Place::kAway) continue;
      ++present;
      updates += client.updates;
      reporters += client.time.known() ? 1 : 0;
      examples += client.examples;
    }
    for (const auto& [id, group] : s.groups) {
      if (working[id] != group.waiting) return false;
      working.erase(id);
    }
    const bool alone = std::ranges::all_of(working, [](const auto& w) { return w.second == 1; });
    return alone && present == s.present && updates == s.updates && reporters == s.reporters &&
           examples == s.examples;
  };
  TRIB_RETURN_IF_ERROR(LoadState(json, "compass", is_sound, state_));
  open_.clear();
  full_tasks_.clear();
  for (const auto& [id, group] : state_.groups) {
    if (group.open) open_.insert(id);
  }
  for (const auto& [id, client] : state_.clients) {
    if (client.place != Place::kAway && client.time.known()) {
      full_tasks_.insert(FullTask(client));
    }
  }
  return absl::OkStatus();
}

}  // namespace tributary
