// ChunkStream: sends bytes from an offset, one chunk at a time: FetchProgram, and behind a header
// FetchModel and ExportModel (model_stream.h). Bytes are read and hashed on the pool, one write is
// outstanding, and what all streams hold together is bounded by the budget. Messages go out as
// bytes, so that the data of a chunk are not copied and can be shared.
#ifndef TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_
#define TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "proto/chunk_message.h"
#include "server/rpc/chunk_cache.h"
#include "server/rpc/service.h"

namespace tributary {

template <typename Response>
class ChunkStream : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // Exactly `length` bytes from `offset` into `out`.
  using Read = std::function<absl::Status(uint64_t offset, uint64_t length, std::string& out)>;

  // `cache` may be null: then every stream reads for itself. All outlive this.
  ChunkStream(const ServiceDeps* deps, ByteBudget* budget, ChunkCache* cache)
      : deps_(deps), budget_(budget), cache_(cache) {}

  // Exactly one of these, once, from any thread.
  void Fail(const absl::Status& status) { Finish(ToGrpc(status)); }
  void Send(Read read, uint64_t offset, uint64_t size) {
    if (Begin(/*content=*/"", std::move(read), offset, size)) Next();
  }

 protected:
  // `content` names the bytes in the cache: nothing else there has that name. False: the stream has
  // failed. Else go on with Next or WriteHeader.
  bool Begin(std::string content, Read read, uint64_t offset, uint64_t size) {
    if (offset > size) {
      Fail(absl::OutOfRangeError(absl::StrCat("offset: found ", offset, ", at most ", size)));
      return false;
    }
    content_ = std::move(content);
    read_ = std::move(read);
    next_ = offset;
    size_ = size;
    return true;
  }

  void WriteHeader(const Response& response) {
    message_ = WholeMessage(response);
    StartWrite(&message_);
  }

  void Next() {
    if (next_ == size_) return Finish(grpc::Status::OK);
    held_ = std::min<uint64_t>(static_cast<uint64_t>(deps_->limits.max_chunk_bytes), size_ - next_);
    budget_->Acquire(static_cast<int64_t>(held_),
                     [this] { deps_->pool->Run([this] { ReadChunk(); }); });
  }

  void SkipToEnd() { next_ = size_; }

  void OnDone() override { delete this; }

  const ServiceDeps* const deps_;
  uint64_t written_ = 0;  // bytes of chunks

 private:
  void OnWriteDone(bool ok) override {
    if (held_ > 0) {
      if (ok) written_ += held_;
      message_.Clear();
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
    }
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
    Next();
  }

  void ReadChunk() {
    absl::StatusOr<grpc::ByteBuffer> message = ChunkAt(next_, held_);
    if (!message.ok()) {
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
      return Fail(message.status());
    }
    message_ = *std::move(message);
    next_ += held_;
    StartWrite(&message_);
  }

  absl::StatusOr<grpc::ByteBuffer> ChunkAt(uint64_t offset, uint64_t length) const {
    const ChunkCache::Key key(content_, offset, length);
    if (cache_ != nullptr) {
      if (auto found = cache_->Find(key)) return *std::move(found);
    }
    auto data = std::make_unique<std::string>();
    TRIB_RETURN_IF_ERROR(read_(offset, length, *data));
    const uint64_t xxh3 = Xxh3(*data);
    std::string* const bytes = data.release();
    const grpc::Slice slice(
        bytes->data(), bytes->size(), [](void* p) { delete static_cast<std::string*>(p); }, bytes);
    const grpc::ByteBuffer message = ChunkMessage(Response::kChunkFieldNumber, offset, xxh3, slice);
    if (cache_ != nullptr) cache_->Put(key, message);
    return message;
  }

  ByteBudget* const budget_;
  ChunkCache* const cache_;
  std::string content_;
  grpc::ByteBuffer message_;
  Read read_;
  uint64_t next_ = 0;  // first byte not read yet
  uint64_t size_ = 0;
  uint64_t held_ = 0;  // of the budget: the chunk being read or written
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_
