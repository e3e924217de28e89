// UploadStream: one stream of chunks into the spool. An upload takes as many streams as it
// takes; the newest wins, and the older ones answer Aborted.
#ifndef TRIBUTARY_SERVER_LIVE_UPLOAD_STREAM_H_
#define TRIBUTARY_SERVER_LIVE_UPLOAD_STREAM_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/codec/update_payload.h"
#include "common/digest.h"
#include "server/live/executor.h"
#include "server/live/live_types.h"
#include "server/live/spool.h"

namespace tributary {

// Thread-safe: file work is done on a lane of its own, in order of the calls. Callbacks run
// on a thread of the pool.
class UploadStream : public std::enable_shared_from_this<UploadStream> {
 public:
  // `pool`, `spool` and `clock` outlive this. `check` is shown the payload if all of it comes on
  // this stream; may be null.
  UploadStream(UploadHeader header, std::unique_ptr<UpdateCheck> check, Executor* pool,
               Spool* spool, const Clock* clock);

  const UploadHeader& header() const { return header_; }

  // Call once, first. Tells how many bytes are durable. Errors of Spool::Begin.
  void Open(Callback<uint64_t> done);

  // Bytes that are there already are skipped. DataLoss: the chunk's XXH3-64 differs;
  // OutOfRange: a gap; InvalidArgument: past the end; Aborted: a newer stream has begun;
  // Unavailable: the disk.
  void Append(uint64_t offset, std::string data, uint64_t xxh3, DoneCallback done);

  // Makes what has arrived durable and tells how much that is; if it is everything, the
  // upload is complete in the spool.
  void Finish(Callback<uint64_t> done);

  // When the client last showed on this stream that it is alive.
  absl::Time last_sign() const { return absl::FromUnixNanos(last_sign_ns_.load()); }
  // Once Open has called back with OK: what was there before this stream began, and whether that
  // was everything.
  uint64_t resumed_at() const { return resumed_at_; }
  bool was_complete() const { return file_ == nullptr; }
  // Once Finish has called back: the checksum of the payload as it came, if all of it came on this
  // stream.
  std::optional<Xxh128> received() const {
    if (resumed_at_ > 0) return std::nullopt;
    return received_.Value();
  }
  UpdateCheck* check() const { return check_.get(); }  // once Finish has called back

 private:
  absl::StatusOr<uint64_t> DoOpen();
  absl::Status DoAppend(uint64_t offset, absl::string_view data, uint64_t xxh3);
  absl::StatusOr<uint64_t> DoFinish();

  const UploadHeader header_;
  Spool* const spool_;
  const Clock* const clock_;
  std::atomic<int64_t> last_sign_ns_;
  std::atomic<uint64_t> resumed_at_ = 0;
  std::unique_ptr<UploadFile> file_;          // set by Open, then the lane's; null when complete
  Xxh3Stream received_;                       // the lane's; of all that was appended
  const std::unique_ptr<UpdateCheck> check_;  // what it points to is the lane's
  SerialLane lane_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_UPLOAD_STREAM_H_
