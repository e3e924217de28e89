// ChunkStream: sends bytes from an offset, one chunk at a time: FetchProgram, and behind a header
// FetchModel and ExportModel (model_stream.h). Bytes are read and hashed on the pool, one write is
// outstanding, and what all streams hold together is bounded by the budget.
#ifndef TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_
#define TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "server/rpc/service.h"

namespace tributary {

template <typename Response>
class ChunkStream : public grpc::ServerWriteReactor<Response> {
 public:
  // Exactly `length` bytes from `offset` into `out`.
  using Read = std::function<absl::Status(uint64_t offset, uint64_t length, std::string& out)>;

  ChunkStream(const ServiceDeps* deps, ByteBudget* budget) : deps_(deps), budget_(budget) {}

  // Exactly one of these, once, from any thread.
  void Fail(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void Send(Read read, uint64_t offset, uint64_t size) {
    if (Begin(std::move(read), offset, size)) Next();
  }

 protected:
  // False: the stream has failed. Else go on with Next, or with StartWrite of a header that is in
  // response_.
  bool Begin(Read read, uint64_t offset, uint64_t size) {
    if (offset > size) {
      Fail(absl::OutOfRangeError(absl::StrCat("offset: found ", offset, ", at most ", size)));
      return false;
    }
    read_ = std::move(read);
    next_ = offset;
    size_ = size;
    return true;
  }

  void Next() {
    if (next_ == size_) return this->Finish(grpc::Status::OK);
    held_ = std::min<uint64_t>(static_cast<uint64_t>(deps_->limits.max_chunk_bytes), size_ - next_);
    budget_->Acquire(static_cast<int64_t>(held_),
                     [this] { deps_->pool->Run([this] { ReadChunk(); }); });
  }

  void SkipToEnd() { next_ = size_; }

  void OnDone() override { delete this; }

  const ServiceDeps* const deps_;
  Response response_;
  uint64_t written_ = 0;  // bytes of chunks

 private:
  void OnWriteDone(bool ok) override {
    if (held_ > 0) {
      if (ok) written_ += held_;
      response_.Clear();
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
    }
    if (!ok) return this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
    Next();
  }

  void ReadChunk() {
    v1::Chunk& chunk = *response_.mutable_chunk();
    const absl::Status read = read_(next_, held_, *chunk.mutable_data());
    if (!read.ok()) {
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
      return Fail(read);
    }
    chunk.set_offset(next_);
    chunk.set_xxh3(Xxh3(chunk.data()));
    next_ += held_;
    this->StartWrite(&response_);
  }

  ByteBudget* const budget_;
  Read read_;
  uint64_t next_ = 0;  // first byte not read yet
  uint64_t size_ = 0;
  uint64_t held_ = 0;  // of the budget: the chunk being read or written
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_CHUNK_STREAM_H_
