#include "server/live/journal_writer.h"

#include <utility>

#include "common/log.h"

namespace tributary {

void JournalWriter::Append(const JobId& job, std::string line) {
  next_.lines[job].push_back(std::move(line));
  StartWriting();
}

void JournalWriter::AfterCommit(EventLoop::Task effect) {
  if (idle()) return effect();
  next_.effects.push_back(std::move(effect));
}

void JournalWriter::StartWriting() {
  if (std::exchange(writing_, true)) return;
  // Posted, so that everything of this turn of the loop goes into one batch.
  loop_->Post([this] {
    batch_ = std::make_shared<Batch>(std::exchange(next_, {}));
    Write();
  });
}

void JournalWriter::Write() {
  disk_->Run([this, batch = batch_, loop = loop_, store = store_] {
    absl::Status status;
    while (status.ok() && !batch->lines.empty()) {
      const auto first = batch->lines.begin();
      status = store->AppendJournal(first->first, first->second);
      if (status.ok()) batch->lines.erase(first);
    }
    loop->Post([this, status] { Written(status); });
  });
}

void JournalWriter::Written(const absl::Status& status) {
  if (!status.ok()) {
    log::Error("journal not written; trying again", {{"error", status}});
    status_ = status;
    loop_->PostAt(clock_->Now() + absl::Seconds(1), [this] { Write(); });
    return;
  }
  status_ = absl::OkStatus();
  for (EventLoop::Task& effect : batch_->effects) effect();
  batch_ = nullptr;
  writing_ = false;
  if (!next_.empty()) StartWriting();
}

}  // namespace tributary
