// EventQueue: what happens next in virtual time. At equal times the lower rank goes first,
// then first in, first out; so the order of events is a function of the run alone.
#ifndef TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
#define TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/check.h"

namespace tributary {

// The order of schedulers/scheduler.h at one instant, and evaluations last: training
// that starts at that instant is then already on its way while the loop waits for them.
enum class EventRank : uint8_t { kResult, kCheckIn, kTimer, kEvaluation };

// Of small values: what happens, to whom. Thread-compatible.
template <typename What>
class EventQueue {
 public:
  void Push(absl::Time at, EventRank rank, What what) { Rise({at, rank, next_sequence_++, what}); }

  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }

  // The next event and its time; it is taken out.
  std::pair<absl::Time, What> Pop() {
    TRIB_CHECK(!heap_.empty());
    const Entry next = heap_.front();
    const Entry last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) Sink(last);
    return {next.at, next.what};
  }

 private:
  struct Entry {
    absl::Time at;
    EventRank rank;
    uint64_t sequence;
    What what;

    bool operator<(const Entry& other) const {
      return std::tie(at, rank, sequence) < std::tie(other.at, other.rank, other.sequence);
    }
  };
  // A heap of four children to a node: half as deep as one of two.
  static constexpr size_t kChildren = 4;

  void Rise(const Entry& entry) {
    size_t hole = heap_.size();
    heap_.push_back(entry);
    while (hole > 0 && entry < heap_[(hole - 1) / kChildren]) {
      const size_t parent = (hole - 1) / kChildren;
      heap_[std::exchange(hole, parent)] = heap_[parent];
    }
    heap_[hole] = entry;
  }

  void Sink(const Entry& entry) {
    size_t hole = 0;
    for (size_t child = 1; child < heap_.size(); child = kChildren * hole + 1) {
      const auto first = heap_.begin() + static_cast<ptrdiff_t>(child);
      const auto last =
          heap_.begin() + static_cast<ptrdiff_t>(std::min(child + kChildren, heap_.size()));
      const auto least = std::min_element(first, last);
      if (!(*least < entry)) break;
      heap_[hole] = *least;
      hole = static_cast<size_t>(least - heap_.begin());
    }
    heap_[hole] = entry;
  }

  std::vector<Entry> heap_;
  uint64_t next_sequence_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
