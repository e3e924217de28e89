#include "simulator/fleet.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/portable_math.h"
#include "common/status_macros.h"
#include "simulator/trace.h"

namespace tributary {
namespace {

constexpr absl::string_view kPrefix = "client-";

absl::Duration Transfer(int64_t bytes, double mbps, double latency_ms) {
  const double seconds = static_cast<double>(bytes) * 8.0 / (mbps * 1e6) + latency_ms / 1e3;
  return absl::Nanoseconds(std::llround(seconds * 1e9));
}

double Seconds(absl::Time t) { return absl::ToDoubleSeconds(t - absl::UnixEpoch()); }

}  // namespace

absl::StatusOr<std::unique_ptr<const Fleet>> Fleet::Create(const SimulationFile& file) {
  const SimulationSpec& spec = file.simulation;
  auto fleet = std::unique_ptr<Fleet>(new Fleet(static_cast<uint64_t>(spec.seed)));
  fleet->devices_.resize(static_cast<size_t>(spec.clients));
  TRIB_RETURN_IF_ERROR(fleet->DrawSpeeds(file));
  TRIB_RETURN_IF_ERROR(fleet->DrawLinks(file));
  TRIB_RETURN_IF_ERROR(fleet->DrawAvailability(file));
  fleet->data_moves_ = spec.data_moves.value_or(DataMovesSpec());
  return fleet;
}

int64_t Fleet::TaskOf(absl::Time now, int64_t training_orders) const {
  if (const auto& orders = data_moves_.every_training_orders) return training_orders / *orders;
  if (!data_moves_.every_seconds) return 0;
  absl::Duration rest;
  return absl::IDivDuration(now - absl::UnixEpoch(), *data_moves_.every_seconds, &rest);
}

absl::Status Fleet::DrawSpeeds(const SimulationFile& file) {
  const SimulationSpec& spec = file.simulation;
  auto speed = SpeedRegistry().Create(spec.speed, size(), root_.Split("speed"));
  if (!speed.ok()) return file.Refuse("simulation.speed", speed.status());
  speed_ = *std::move(speed);
  for (int64_t i = 0; i < size(); ++i)
    devices_[static_cast<size_t>(i)].step_time = speed_->StepTime(i);
  const Rng changes = root_.Split("speed_changes");
  for (size_t k = 0; k < spec.speed_changes.size(); ++k) {
    const SpeedChangeSpec& change = spec.speed_changes[k];
    SpeedChange& drawn = speed_changes_.emplace_back();
    drawn.at = absl::UnixEpoch() + change.at_seconds;
    drawn.factor = change.factor;
    drawn.concerns.resize(devices_.size());
    for (const int64_t i : DrawClients(change.share, changes.Split(k))) {
      drawn.concerns[static_cast<size_t>(i)] = true;
    }
  }
  std::ranges::stable_sort(speed_changes_, {}, &SpeedChange::at);
  return absl::OkStatus();
}

absl::Status Fleet::DrawLinks(const SimulationFile& file) {
  const std::optional<NetworkSpec>& network = file.simulation.network;
  if (!network) return absl::OkStatus();
  if (network->trace) {
    const auto rows = ReadTraceByClient(*network->trace,
                                        {TraceColumn{"uplink_mbps"}, TraceColumn{"downlink_mbps"},
                                         TraceColumn{"latency_ms", /*zero_allowed=*/true}},
                                        size());
    if (!rows.ok()) return file.Refuse("simulation.network.trace", rows.status());
    for (size_t i = 0; i < devices_.size(); ++i) {
      const std::vector<double>& row = (*rows)[i];
      devices_[i].link = Link{row[0], row[1], row[2]};
    }
    return absl::OkStatus();
  }
  const Rng rng = root_.Split("network");
  for (size_t i = 0; i < devices_.size(); ++i) {
    Rng own = rng.Split(i);
    const double factor = network->spread == 0 ? 1 : portable::Exp(own.Normal(0, network->spread));
    devices_[i].link =
        Link{network->uplink_mbps * factor, network->downlink_mbps * factor, network->latency_ms};
  }
  return absl::OkStatus();
}

absl::Status Fleet::DrawAvailability(const SimulationFile& file) {
  const AvailabilitySpec& spec = file.simulation.availability;
  dropout_ = spec.dropout;
  auto online = OnlineRegistry().Create(spec.online, size(), root_.Split("online"));
  if (!online.ok()) return file.Refuse("simulation.availability.online", online.status());
  online_ = *std::move(online);
  if (spec.vanishing) DrawTimes(*spec.vanishing, root_.Split("vanishing"), &Device::vanishes_at);
  if (spec.late_joiners) {
    DrawTimes(*spec.late_joiners, root_.Split("late_joiners"), &Device::joins_at);
  }
  return absl::OkStatus();
}

std::vector<int64_t> Fleet::DrawClients(double share, Rng rng) const {
  return rng.SampleWithoutReplacement(size(), std::llround(share * static_cast<double>(size())));
}

void Fleet::DrawTimes(const ShareSpec& spec, const Rng& rng, absl::Time Device::*time) {
  for (const int64_t i : DrawClients(spec.share, rng.Split("clients"))) {
    Rng own = rng.Split(static_cast<uint64_t>(i));
    const double seconds = own.Uniform() * absl::ToDoubleSeconds(spec.by_seconds);
    devices_[static_cast<size_t>(i)].*time =
        absl::UnixEpoch() + absl::Nanoseconds(std::llround(seconds * 1e9));
  }
}

ClientId Fleet::Id(int64_t client) const {
  return ClientId(absl::StrFormat("%s%0*d", kPrefix, absl::StrCat(size() - 1).size(), client));
}

int64_t Fleet::IndexOf(const ClientId& id) const {
  int64_t index = -1;
  TRIB_CHECK(absl::SimpleAtoi(absl::StripPrefix(id.value(), kPrefix), &index) && index >= 0 &&
             index < size());
  return index;
}

absl::Duration Fleet::DownloadTime(int64_t client, int64_t bytes) const {
  const auto& link = device(client).link;
  return link ? Transfer(bytes, link->downlink_mbps, link->latency_ms) : absl::ZeroDuration();
}

absl::Duration Fleet::UploadTime(int64_t client, int64_t bytes) const {
  const auto& link = device(client).link;
  return link ? Transfer(bytes, link->uplink_mbps, link->latency_ms) : absl::ZeroDuration();
}

Rng Fleet::JitterStream(int64_t client) const {
  return root_.Split("speed").Split(static_cast<uint64_t>(client)).Split("jitter");
}

absl::Time Fleet::TrainedAt(int64_t client, absl::Time start, int64_t steps, double jitter) const {
  // What is left, in seconds at the speed before any change.
  double seconds =
      absl::ToDoubleSeconds(device(client).step_time) * static_cast<double>(steps) * jitter;
  double factor = 1;
  for (const SpeedChange& change : speed_changes_) {
    if (!change.concerns[static_cast<size_t>(client)]) continue;
    if (change.at > start) {
      const double span = absl::ToDoubleSeconds(change.at - start);
      if (seconds * factor <= span) break;
      seconds -= span / factor;
      start = change.at;
    }
    factor *= change.factor;
  }
  return start + absl::Nanoseconds(std::llround(seconds * factor * 1e9));
}

OnlinePeriod Fleet::NextPeriod(int64_t client, int64_t& n, absl::Time after) const {
  const Device& d = device(client);
  for (;;) {
    OnlinePeriod period = online_->Period(client, n, after);
    if (period.from == absl::InfiniteFuture() || period.from >= d.vanishes_at) return {};
    ++n;
    after = period.to;
    period.from = std::max(period.from, d.joins_at);
    period.to = std::min(period.to, d.vanishes_at);
    if (period.from < period.to) return period;
  }
}

std::optional<double> Fleet::DrawDropout(int64_t client, int64_t n) const {
  if (dropout_ == 0) return std::nullopt;
  Rng rng = dropout_rng_.Split(static_cast<uint64_t>(client)).Split(static_cast<uint64_t>(n));
  if (!rng.Bernoulli(dropout_)) return std::nullopt;
  return rng.Uniform();
}

nlohmann::json Fleet::ToJson(absl::Span<const int64_t> examples) const {
  using Json = nlohmann::json;
  Json clients = Json::array(), changes = Json::array();
  for (int64_t i = 0; i < size(); ++i) {
    const Device& d = device(i);
    const bool vanishes = d.vanishes_at != absl::InfiniteFuture();
    clients.push_back({{"id", Id(i).value()},
                       {"seconds_per_step", absl::ToDoubleSeconds(d.step_time)},
                       {"uplink_mbps", d.link ? Json(d.link->uplink_mbps) : Json()},
                       {"downlink_mbps", d.link ? Json(d.link->downlink_mbps) : Json()},
                       {"latency_ms", d.link ? Json(d.link->latency_ms) : Json()},
                       {"examples", examples[static_cast<size_t>(i)]},
                       {"joins_at_seconds", Seconds(d.joins_at)},
                       {"vanishes_at_seconds", vanishes ? Json(Seconds(d.vanishes_at)) : Json()}});
  }
  for (const SpeedChange& change : speed_changes_) {
    Json ids = Json::array();
    for (int64_t i = 0; i < size(); ++i) {
      if (change.concerns[static_cast<size_t>(i)]) ids.push_back(Id(i).value());
    }
    changes.push_back({{"at_seconds", Seconds(change.at)},
                       {"factor", change.factor},
                       {"clients", std::move(ids)}});
  }
  return {{"clients", std::move(clients)}, {"speed_changes", std::move(changes)}};
}

}  // namespace tributary
