// Room on the disk: uploads that are told to come back, and what waits until there is some.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/log.h"
#include "server/live/live_host.h"

namespace tributary {
namespace {

constexpr absl::Duration kPutOffLogEvery = absl::Minutes(1);

}  // namespace

UploadAnswer LiveHost::PutOff(LiveJob& job, const ClientId& client, const absl::Status& why) {
  const std::string what = ExhaustedOf(why);
  const int64_t times = ++job.put_off[what];
  const absl::Time now = deps_.clock->Now();
  if (absl::Time& logged = job.put_off_logged[what]; now - logged >= kPutOffLogEvery) {
    logged = now;
    log::Warning("upload put off", {{"job", job.id().value()},
                                    {"client", client.value()},
                                    {"full", what},
                                    {"times", times},
                                    {"why", why.message()}});
  }
  return {
      .state = UploadAnswer::State::kRetry, .message = std::string(why.message()), .retry = Pace()};
}

// ---- the alarm -------------------------------------------------------------------------

void LiveHost::MeasureDisk() {
  deps_.pool->Run([this, spool = deps_.spool, loop = deps_.loop] {
    loop->Post([this, free = spool->FreeBytes()] {
      NoteDisk(journal_.status());
      if (!free.ok()) return log::Warning("disk not measured", {{"error", free.status()}});
      if (disk_alarm_.Measured(deps_.clock->Now(), *free)) DiskChanged();
    });
  });
}

void LiveHost::NoteDisk(const absl::Status& write) {
  if (IsDiskFull(write) && disk_alarm_.WriteFailed(deps_.clock->Now(), write)) DiskChanged();
}

void LiveHost::DiskChanged() {
  disk_ok_ = !disk_alarm_.on();
  if (disk_alarm_.on()) {
    log::Error("jobs paused", {{"reason", disk_alarm_.reason()}});
  } else {
    log::Info("jobs resumed: the disk has room");
    disk_.Run([this] { disk_refused_ = absl::OkStatus(); });
    for (EventLoop::Task& task : std::exchange(for_room_, {})) task();
    for (auto& [id, client] : clients_) Give(client);
    AnnounceAll();
  }
  for (auto& [id, job] : jobs_) {
    if (job->ended()) continue;
    if (disk_alarm_.on()) ++job->disk_pauses;
    // At once: behind the journal they might wait for the very room that they are told of.
    for (auto& [watcher, changed] : job->watchers) changed();
  }
}

// ---- writes that nobody waits for ------------------------------------------------------

void LiveHost::Discard(absl::AnyInvocable<absl::Status()> remove) {
  journal_.AfterCommit([this, remove = std::move(remove)]() mutable {
    removals_.Run([remove = std::move(remove)]() mutable {
      if (const absl::Status status = remove(); !status.ok()) {
        log::Error("files not removed", {{"error", status}});
      }
    });
  });
}

void LiveHost::OnDisk(DiskWrite write) {
  journal_.AfterCommit([this, write = std::move(write)]() mutable { Write(std::move(write)); });
}

void LiveHost::Write(DiskWrite write) {
  disk_.Run([this, store = deps_.store, loop = deps_.loop, write = std::move(write)]() mutable {
    // What is written after one that waits for room waits too: they keep their order.
    absl::Status status = disk_refused_.ok() ? write(*store) : disk_refused_;
    if (status.ok()) return;
    if (!IsDiskFull(status)) return log::Error("store not written", {{"error", status}});
    disk_refused_ = status;
    loop->Post([this, status = std::move(status), write = std::move(write)]() mutable {
      for_room_.emplace_back(
          [this, write = std::move(write)]() mutable { Write(std::move(write)); });
      NoteDisk(status);
    });
  });
}

}  // namespace tributary
