// Fleet: what the virtual clients are like, drawn once from the simulation's seed. Each feature
// draws from a stream of its own, and each client from its own part of that: adding a feature
// changes no other draw.
#ifndef TRIBUTARY_SIMULATOR_FLEET_H_
#define TRIBUTARY_SIMULATOR_FLEET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/ids.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"
#include "simulator/online.h"
#include "simulator/simulation_spec.h"
#include "simulator/speed.h"

namespace tributary {

// A client's connection.
struct Link {
  double uplink_mbps = 0;  // 10^6 bits a second
  double downlink_mbps = 0;
  double latency_ms = 0;  // of each transfer
};

// What was drawn for one client.
struct Device {
  absl::Duration step_time;  // mean time of an optimizer step, before any speed change
  std::optional<Link> link;  // absent: transfers take no time
  absl::Time joins_at = absl::UnixEpoch();
  absl::Time vanishes_at = absl::InfiniteFuture();
};

// Immutable, thread-safe. `client` is an index from 0 to size() − 1.
class Fleet {
 public:
  // InvalidArgument with the place in the file: a trace that cannot be used.
  static absl::StatusOr<std::unique_ptr<const Fleet>> Create(const SimulationFile& file);

  int64_t size() const { return static_cast<int64_t>(devices_.size()); }
  // "client-07": zero-padded to equal lengths, so that names sort as indices do.
  ClientId Id(int64_t client) const;
  int64_t IndexOf(const ClientId& id) const;  // of a name that Id gave
  const Device& device(int64_t client) const { return devices_[static_cast<size_t>(client)]; }

  // latency + bytes / rate.
  absl::Duration DownloadTime(int64_t client, int64_t bytes) const;
  absl::Duration UploadTime(int64_t client, int64_t bytes) const;

  // The stream of a client's jitter; DrawJitter draws the next work order's from it.
  Rng JitterStream(int64_t client) const;
  double DrawJitter(Rng& stream) const { return speed_->DrawJitter(stream); }

  // When a training begun at `start` has done its steps. Solves ∫ dt / f(t) = steps · step time ·
  // jitter for the end, where f is the product of the client's speed changes up to t.
  absl::Time TrainedAt(int64_t client, absl::Time start, int64_t steps, double jitter) const;

  // The client's first period from `after` on that it is there for, with `n` (0 at first) moved on
  // behind it. A period is cut at the client's joining and vanishing; InfiniteFuture: none.
  OnlinePeriod NextPeriod(int64_t client, int64_t& n, absl::Time after) const;

  // The share of its download and training after which the client's n-th training order is lost;
  // absent: it is not.
  std::optional<double> DrawDropout(int64_t client, int64_t n) const;

  // The task that a client's data belong to, from 0; the length of one, if time alone decides.
  int64_t TaskOf(absl::Time now, int64_t training_orders) const;
  std::optional<absl::Duration> task_length() const { return data_moves_.every_seconds; }

  // fleet.json; docs/simulator.md. `examples` by client.
  nlohmann::json ToJson(absl::Span<const int64_t> examples) const;

 private:
  struct SpeedChange {
    absl::Time at;
    double factor = 1;
    std::vector<bool> concerns;  // by client
  };

  explicit Fleet(uint64_t seed) : root_(seed), dropout_rng_(root_.Split("dropout")) {}
  absl::Status DrawSpeeds(const SimulationFile& file);
  absl::Status DrawLinks(const SimulationFile& file);
  absl::Status DrawAvailability(const SimulationFile& file);
  std::vector<int64_t> DrawClients(double share, Rng rng) const;
  void DrawTimes(const ShareSpec& spec, const Rng& rng, absl::Time Device::*time);

  const Rng root_;
  const Rng dropout_rng_;
  double dropout_ = 0;
  std::vector<Device> devices_;
  std::unique_ptr<const SpeedModel> speed_;
  std::vector<SpeedChange> speed_changes_;  // by time
  std::unique_ptr<const OnlineModel> online_;
  DataMovesSpec data_moves_;  // neither: never
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_FLEET_H_
