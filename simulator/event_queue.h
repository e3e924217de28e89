// EventQueue: what happens next in virtual time. At equal times the lower rank goes first,
// then first in, first out; so the order of events is a function of the run alone.
#ifndef TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
#define TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/check.h"

namespace tributary {

// The order of schedulers/scheduler.h at one instant, and evaluations last: training
// that starts at that instant is then already on its way while the loop waits for them.
enum class EventRank { kResult, kCheckIn, kTimer, kEvaluation };

// Thread-compatible.
class EventQueue {
 public:
  using Handler = std::function<void()>;

  void Push(absl::Time at, EventRank rank, Handler handler) {
    entries_.push_back({at, rank, next_sequence_++, std::move(handler)});
    std::push_heap(entries_.begin(), entries_.end(), Later);
  }

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }

  // The time and handler of the next event, which is taken out.
  std::pair<absl::Time, Handler> Pop() {
    TRIB_CHECK(!entries_.empty());
    std::pop_heap(entries_.begin(), entries_.end(), Later);
    Entry entry = std::move(entries_.back());
    entries_.pop_back();
    return {entry.at, std::move(entry.handler)};
  }

 private:
  struct Entry {
    absl::Time at;
    EventRank rank;
    uint64_t sequence;
    Handler handler;
  };
  static bool Later(const Entry& a, const Entry& b) {
    return std::tie(a.at, a.rank, a.sequence) > std::tie(b.at, b.rank, b.sequence);
  }

  std::vector<Entry> entries_;
  uint64_t next_sequence_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
