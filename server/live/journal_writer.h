// JournalWriter: group commit. Lines are collected while the last batch is being written;
// what a client may see waits until every line before it is durable.
//
//   journal.Append(job, line);
//   journal.AfterCommit([&] { answer_client(); });
#ifndef TRIBUTARY_SERVER_LIVE_JOURNAL_WRITER_H_
#define TRIBUTARY_SERVER_LIVE_JOURNAL_WRITER_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "server/live/event_loop.h"
#include "server/live/executor.h"
#include "server/store/model_store.h"

namespace tributary {

// Belongs to the event loop. A batch that the store refuses is tried again every second:
// until then no effect takes place, so that nothing that was told is ever lost.
class JournalWriter {
 public:
  // All outlive the last task.
  JournalWriter(EventLoop* loop, Executor* disk, const Clock* clock, ModelStore* store)
      : loop_(loop), disk_(disk), clock_(clock), store_(store) {}

  void Append(const JobId& job, std::string line);
  // Runs `effect` on the loop when all lines appended so far are durable: at once if they
  // are. Effects run in order.
  void AfterCommit(EventLoop::Task effect);

  bool idle() const { return !writing_ && next_.empty(); }
  // Of the last attempt to write.
  const absl::Status& status() const { return status_; }

 private:
  struct Batch {
    std::map<JobId, std::vector<std::string>> lines;
    std::vector<EventLoop::Task> effects;
    bool empty() const { return lines.empty() && effects.empty(); }
  };
  void StartWriting();
  void Write();
  void Written(const absl::Status& status);

  EventLoop* const loop_;
  Executor* const disk_;
  const Clock* const clock_;
  ModelStore* const store_;
  absl::Status status_;
  bool writing_ = false;
  std::shared_ptr<Batch> batch_;  // being written; its lines belong to the disk task
  Batch next_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_JOURNAL_WRITER_H_
