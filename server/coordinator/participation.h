// Participation: who may be given work now, whatever the scheduler. The job's section of that
// name sets limits; Admission keeps them: a client that may not work yet waits, and the scheduler
// does not hear of it until its turn comes.
#ifndef TRIBUTARY_SERVER_COORDINATOR_PARTICIPATION_H_
#define TRIBUTARY_SERVER_COORDINATOR_PARTICIPATION_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/config/schema.h"
#include "common/ids.h"

namespace tributary {

// From `from` until `to`, every day, UTC; over midnight if `to` is the earlier one.
struct DailyWindow {
  std::string from = "00:00";
  std::string to = "24:00";

  static void Describe(config::Fields<DailyWindow>& fields);
  absl::Status Validate() const;
};

struct ParticipationSpec {
  // Clients that train or that the scheduler may send to train, at a time.
  std::optional<int64_t> max_concurrency;
  // From the end of a client's training order to its next one.
  absl::Duration min_interval_seconds = absl::ZeroDuration();
  std::vector<DailyWindow> windows;  // empty: always

  static void Describe(config::Fields<ParticipationSpec>& fields);
};

// Deterministic: no clock, no randomness. Times do not run backwards. Thread-compatible.
class Admission {
 public:
  explicit Admission(const ParticipationSpec& spec);

  // An idle client asks for work. True: it has a place now. False: it waits, and Admit will
  // name it; asking again changes nothing.
  bool Ask(const ClientId& client, absl::Time now);

  // The order of a client with a place has ended. True: it keeps its place and may be given
  // work at once. False, always if not `wants_more`: the place is free, the client must ask.
  bool Finish(const ClientId& client, absl::Time now, bool wants_more);

  // A client with a place that has no order gives it up.
  void FreePlace();
  // The client waits no longer.
  void Withdraw(const ClientId& client);

  // Those whose turn has come, in the order in which they became ready; each has a place.
  std::vector<ClientId> Admit(absl::Time now);

  // False: no order may begin now, and idle clients with a place are to give it up.
  bool IsOpen(absl::Time now) const;

  // When Admit or IsOpen changes by itself; InfiniteFuture: never.
  absl::Time NextChange(absl::Time now) const;
  // The earliest time from `now` on at which this client may begin, places aside.
  absl::Time NotBefore(const ClientId& client, absl::Time now) const;

 private:
  struct Window {
    absl::Duration from, to;  // since midnight UTC; from < to
  };

  bool HasPlace() const { return !max_places_ || places_used_ < *max_places_; }
  absl::Time NextOpening(absl::Time from) const;  // `from` itself if it is open
  absl::Time NextEdge(absl::Time from) const;

  const std::optional<int64_t> max_places_;
  const absl::Duration min_interval_;
  std::vector<Window> windows_;

  int64_t places_used_ = 0;
  uint64_t next_turn_ = 0;
  absl::flat_hash_map<ClientId, absl::Time> rested_at_;  // end of the last order + min_interval
  // Who waits: since which turn, and before when it may not begin. In one of the two below.
  using Turn = std::pair<absl::Time, uint64_t>;
  absl::flat_hash_map<ClientId, Turn> waiting_;
  std::map<Turn, ClientId> resting_;    // not before that time
  std::map<uint64_t, ClientId> ready_;  // only a place is missing, or an open window
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_PARTICIPATION_H_
