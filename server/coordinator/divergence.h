// Divergence: what training that ends in values that are not finite says of the job.
//
// That of one client may be the fault of its data. If it happens to most of those who were given
// the clients' present rate, the rate is too high for the model; if nothing else comes any more,
// the job cannot go on by itself. Clients that diverge send no delta, so that a rate that follows
// deltas would never hear of it.
#ifndef TRIBUTARY_SERVER_COORDINATOR_DIVERGENCE_H_
#define TRIBUTARY_SERVER_COORDINATOR_DIVERGENCE_H_

#include <cstdint>
#include <iterator>

#include "absl/container/flat_hash_set.h"
#include "common/ids.h"

namespace tributary {

// Deterministic; thread-compatible.
class Divergence {
 public:
  static constexpr int64_t kMostInARow = 100;

  // An update, or a contribution, has come.
  void NoteResult() {
    ++results_;
    in_a_row_ = 0;
    silent_.clear();
  }
  // One will not come, for its values were not finite. `at_rate`: its order had the clients'
  // present rate or a lower one.
  void NoteLoss(const ClientId& client, bool at_rate) {
    ++in_a_row_;
    silent_.insert(client);
    if (at_rate) diverged_.insert(client);
  }
  // There is another version, or the clients' rate is another one.
  void BeginRate() {
    results_ = 0;
    diverged_.clear();
  }
  // Somebody says that it may be tried again.
  void BeginRow() {
    in_a_row_ = 0;
    silent_.clear();
  }

  // More clients diverged at this rate than results came or may still come; `out` is the number of
  // orders that are out.
  bool RateIsTooHigh(int64_t out) const { return std::ssize(diverged_) > results_ + out; }
  // kMostInARow losses without a result between them, from more clients than still may send one.
  bool IsHopeless(int64_t out) const {
    return in_a_row_ >= kMostInARow && std::ssize(silent_) > out;
  }
  int64_t in_a_row() const { return in_a_row_; }

 private:
  int64_t results_ = 0;                     // since BeginRate
  absl::flat_hash_set<ClientId> diverged_;  // since BeginRate, at that rate
  int64_t in_a_row_ = 0;                    // losses since the last result
  absl::flat_hash_set<ClientId> silent_;    // whose they are
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_DIVERGENCE_H_
