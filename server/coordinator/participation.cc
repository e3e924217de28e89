#include "server/coordinator/participation.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

// "HH:MM", "00:00" to "24:00".
std::optional<absl::Duration> TimeOfDay(absl::string_view text) {
  int hours = 0, minutes = 0;
  if (text.size() != 5 || text[2] != ':' || !absl::SimpleAtoi(text.substr(0, 2), &hours) ||
      !absl::SimpleAtoi(text.substr(3), &minutes) || hours < 0 || minutes < 0 || minutes > 59 ||
      hours * 60 + minutes > 24 * 60) {
    return std::nullopt;
  }
  return absl::Hours(hours) + absl::Minutes(minutes);
}

absl::Time Midnight(absl::Time t) { return t - (t - absl::UnixEpoch()) % kDay; }

}  // namespace

void DailyWindow::Describe(config::Fields<DailyWindow>& fields) {
  fields.Add("from", &DailyWindow::from, "beginning, HH:MM, UTC");
  fields.Add("to", &DailyWindow::to, "end, HH:MM, UTC; before `from`: of the next day");
}

absl::Status DailyWindow::Validate() const {
  for (const auto& [name, text] : {std::pair("from", &from), std::pair("to", &to)}) {
    if (TimeOfDay(*text)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": found '", *text, "'; allowed: a time of day from 00:00 to 24:00, as 06:30"));
  }
  // 24:00 is the next day's 00:00.
  const bool never_open = from == to || (from == "24:00" && to == "00:00");
  if (!never_open) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("from is ", from, " and to is ", to,
                   ", so the window is never open; allowed: two different times of day"));
}

void ParticipationSpec::Describe(config::Fields<ParticipationSpec>& fields) {
  fields
      .Add("max_concurrency", &ParticipationSpec::max_concurrency,
           "clients that train, or stand ready to, at a time; the others take turns")
      .Min(1);
  fields
      .Add("min_interval_seconds", &ParticipationSpec::min_interval_seconds,
           "rest of a client between two training orders")
      .Max(31536000);
  fields.Add("windows", &ParticipationSpec::windows,
             "times of day at which training may begin; none: always");
}

Admission::Admission(const ParticipationSpec& spec)
    : max_places_(spec.max_concurrency), min_interval_(spec.min_interval_seconds) {
  for (const DailyWindow& window : spec.windows) {
    const absl::Duration from = *TimeOfDay(window.from), to = *TimeOfDay(window.to);
    if (from < to) {
      windows_.push_back({from, to});
    } else {
      windows_.push_back({from, kDay});
      if (to > absl::ZeroDuration()) windows_.push_back({absl::ZeroDuration(), to});
    }
  }
}

bool Admission::Ask(const ClientId& client, absl::Time now) {
  if (waiting_.contains(client)) return false;
  const absl::Time begin = NotBefore(client, now);
  if (begin <= now && ready_.empty() && HasPlace()) {
    ++places_used_;
    return true;
  }
  const Turn turn(begin, next_turn_++);
  waiting_[client] = turn;
  if (begin <= now) {
    ready_[turn.second] = client;
  } else {
    resting_[turn] = client;
  }
  return false;
}

bool Admission::Finish(const ClientId& client, absl::Time now, bool wants_more) {
  if (min_interval_ > absl::ZeroDuration()) rested_at_[client] = now + min_interval_;
  if (wants_more && ready_.empty() && NotBefore(client, now) <= now) return true;
  --places_used_;
  return false;
}

void Admission::FreePlace() { --places_used_; }

void Admission::Withdraw(const ClientId& client) {
  const auto it = waiting_.find(client);
  if (it == waiting_.end()) return;
  if (resting_.erase(it->second) == 0) ready_.erase(it->second.second);
  waiting_.erase(it);
}

std::vector<ClientId> Admission::Admit(absl::Time now) {
  while (!resting_.empty() && resting_.begin()->first.first <= now) {
    const auto [turn, client] = *resting_.begin();
    resting_.erase(resting_.begin());
    rested_at_.erase(client);
    const uint64_t ready_turn = next_turn_++;
    waiting_[client] = {turn.first, ready_turn};
    ready_[ready_turn] = client;
  }
  std::vector<ClientId> admitted;
  while (!ready_.empty() && HasPlace() && IsOpen(now)) {
    admitted.push_back(ready_.begin()->second);
    waiting_.erase(admitted.back());
    ready_.erase(ready_.begin());
    ++places_used_;
  }
  return admitted;
}

bool Admission::IsOpen(absl::Time now) const {
  if (windows_.empty()) return true;
  const absl::Duration time_of_day = now - Midnight(now);
  return std::any_of(windows_.begin(), windows_.end(), [&](const Window& window) {
    return window.from <= time_of_day && time_of_day < window.to;
  });
}

absl::Time Admission::NextEdge(absl::Time from) const {
  absl::Time next = absl::InfiniteFuture();
  for (const Window& window : windows_) {
    for (const absl::Duration edge : {window.from, window.to}) {
      absl::Time at = Midnight(from) + edge;
      if (at <= from) at += kDay;
      next = std::min(next, at);
    }
  }
  return next;
}

absl::Time Admission::NextOpening(absl::Time from) const {
  while (!IsOpen(from)) from = NextEdge(from);
  return from;
}

absl::Time Admission::NextChange(absl::Time now) const {
  absl::Time next = absl::InfiniteFuture();
  if (!resting_.empty()) next = resting_.begin()->first.first;
  if (!waiting_.empty() || places_used_ > 0) next = std::min(next, NextEdge(now));
  return next;
}

absl::Time Admission::NotBefore(const ClientId& client, absl::Time now) const {
  const auto rested = rested_at_.find(client);
  return NextOpening(rested == rested_at_.end() ? now : std::max(now, rested->second));
}

}  // namespace tributary
