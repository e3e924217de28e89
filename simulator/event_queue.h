// EventQueue: what happens next in virtual time. At equal times the lower rank goes first,
// then first in, first out; so the order of events is a function of the run alone.
#ifndef TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
#define TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/check.h"

namespace tributary {

// The order of schedulers/scheduler.h at one instant, and evaluations last: training
// that starts at that instant is then already on its way while the loop waits for them.
enum class EventRank : uint8_t { kResult, kCheckIn, kTimer, kEvaluation };

// Of small values: what happens, to whom. What is pushed for the instant that is being dealt with
// waits in line, what is far ahead waits unsorted (Rönngren, Riboe and Ayani 1991, "Lazy queue: an
// efficient implementation of the pending-event set"); so the heap of what is near stays small
// enough for a cache. Thread-compatible.
template <typename What>
class EventQueue {
 public:
  void Push(absl::Time at, EventRank rank, What what) {
    ++size_;
    if (at == now_) return present_[static_cast<size_t>(rank)].push_back(what);
    const Entry entry{at, uint64_t{static_cast<uint8_t>(rank)} << kSequenceBits | next_sequence_++,
                      what};
    if (heap_.empty()) horizon_ = at;
    if (at > horizon_) return far_.push_back(entry);
    Rise(entry);
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  // What comes next of what is ahead, unless something earlier is pushed; nullptr: nothing is.
  const What* Expected() const { return heap_.empty() ? nullptr : &heap_.front().what; }

  // The next event and its time; it is taken out.
  std::pair<absl::Time, What> Pop() {
    TRIB_CHECK(!empty());
    --size_;
    for (size_t rank = 0; rank < present_.size(); ++rank) {
      if (present_[rank].empty() || HeapComesBefore(rank)) continue;
      const What what = present_[rank].front();
      present_[rank].pop_front();
      return {now_, what};
    }
    const Entry next = heap_.front();
    const Entry last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) {
      Sink(last);
    } else if (!far_.empty()) {
      MoveHorizon();
    }
    now_ = std::max(now_, next.at);
    return {next.at, next.what};
  }

 private:
  struct Entry {
    absl::Time at;
    uint64_t order;  // at one time: rank, then number of the push
    What what;

    bool operator<(const Entry& other) const {
      return std::tie(at, order) < std::tie(other.at, other.order);
    }
  };
  static constexpr int kSequenceBits = 61;
  // A heap of four children to a node: half as deep as one of two.
  static constexpr size_t kChildren = 4;
  // What comes near at a time: at least so many, and one in so many of what is far, so that the
  // look through all of that costs an event the same however many there are.
  static constexpr size_t kNear = 4096;
  static constexpr size_t kFarToNear = 8;

  // What the heap has for this instant was pushed before what is present.
  bool HeapComesBefore(size_t rank) const {
    if (heap_.empty()) return false;
    const Entry& next = heap_.front();
    return next.at < now_ || (next.at == now_ && next.order >> kSequenceBits <= rank);
  }

  void MoveHorizon() {
    const size_t count = std::min(std::max(kNear, far_.size() / kFarToNear), far_.size());
    const auto latest = far_.end() - static_cast<ptrdiff_t>(count);
    std::ranges::nth_element(far_, latest, std::greater(), &Entry::at);
    horizon_ = latest->at;
    const auto near = std::partition(far_.begin(), latest,
                                     [this](const Entry& entry) { return entry.at > horizon_; });
    std::for_each(near, far_.end(), [this](const Entry& entry) { Rise(entry); });
    far_.erase(near, far_.end());
  }

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

  absl::Time now_ = absl::InfinitePast();    // the latest that was taken out
  std::array<std::deque<What>, 4> present_;  // at that time, by rank
  std::vector<Entry> heap_;  // until horizon_, and what was there for now_ before it came
  std::vector<Entry> far_;   // after horizon_, in any order; empty if heap_ is
  absl::Time horizon_ = absl::InfinitePast();
  uint64_t next_sequence_ = 0;
  size_t size_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EVENT_QUEUE_H_
