// ModelStream: sends a published model from an offset, one chunk at a time: FetchModel and
// ExportModel. Bytes are read and hashed on the pool, one write is outstanding, and what all
// streams hold together is bounded by the budget.
#ifndef TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_
#define TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "common/digest.h"
#include "server/rpc/service.h"
#include "server/rpc/wire.h"

namespace tributary {

template <typename Response>
class ModelStream final : public grpc::ServerWriteReactor<Response> {
 public:
  using ReaderPtr = LiveHost::ReaderPtr;
  using SentCallback = absl::AnyInvocable<void(uint64_t bytes)>;

  // `sent` is told at the end how many bytes of the model were written; may be null.
  ModelStream(const ServiceDeps* deps, ByteBudget* budget, SentCallback sent)
      : deps_(deps), budget_(budget), sent_(std::move(sent)) {}

  // Before Send: the mask goes with the header, unless the client holds it.
  void SetMask(const SentMask& mask, const std::optional<Xxh128>& held) {
    wire::Put(mask.checksum, response_.mutable_header()->mutable_mask_xxh128());
    if (held != mask.checksum) response_.mutable_header()->set_mask(mask.bytes);
  }
  // Exactly one of these, once, from any thread.
  void Fail(const absl::Status& status) { this->Finish(ToGrpc(status)); }
  void Send(const JobId& job, ReaderPtr reader, uint64_t offset, bool unchanged) {
    if (offset > reader->size_bytes()) {
      return Fail(absl::OutOfRangeError(
          absl::StrCat("offset: found ", offset, ", at most ", reader->size_bytes())));
    }
    reader_ = std::move(reader);
    next_ = unchanged ? reader_->size_bytes() : offset;
    FillHeader(job, unchanged);
    this->StartWrite(&response_);
  }

 private:
  void FillHeader(const JobId& job, bool unchanged) {
    v1::ModelHeader* header = nullptr;
    if constexpr (requires { response_.mutable_header()->mutable_model(); }) {
      response_.mutable_header()->set_unchanged(unchanged);
      for (const DeltaPart& part : reader_->deltas()) {
        v1::ModelDelta* const delta = response_.mutable_header()->add_deltas();
        delta->set_version(part.version);
        delta->set_bytes(part.bytes);
      }
      header = response_.mutable_header()->mutable_model();
    } else {
      header = response_.mutable_header();
    }
    wire::Put(job, reader_->record(), *reader_->layout(), reader_->size_bytes(), header);
  }

  void OnWriteDone(bool ok) override {
    if (held_ > 0) {
      if (ok) written_ += held_;
      response_.Clear();
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
    }
    if (!ok) return this->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
    if (next_ == reader_->size_bytes()) return this->Finish(grpc::Status::OK);
    held_ = std::min<uint64_t>(static_cast<uint64_t>(deps_->limits.max_chunk_bytes),
                               reader_->size_bytes() - next_);
    budget_->Acquire(static_cast<int64_t>(held_),
                     [this] { deps_->pool->Run([this] { ReadChunk(); }); });
  }

  void ReadChunk() {
    v1::Chunk& chunk = *response_.mutable_chunk();
    const absl::Status read = reader_->Read(next_, held_, *chunk.mutable_data());
    if (!read.ok()) {
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
      return Fail(read);
    }
    chunk.set_offset(next_);
    chunk.set_xxh3(Xxh3(chunk.data()));
    next_ += held_;
    this->StartWrite(&response_);
  }

  void OnDone() override {
    if (sent_) sent_(written_);
    delete this;
  }

  const ServiceDeps* const deps_;
  ByteBudget* const budget_;
  SentCallback sent_;
  ReaderPtr reader_;
  Response response_;
  uint64_t next_ = 0;     // first byte not read yet
  uint64_t held_ = 0;     // of the budget: the chunk being read or written
  uint64_t written_ = 0;  // bytes of the model
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_
