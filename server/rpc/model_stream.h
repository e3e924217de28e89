// ModelStream: sends a published model from an offset, behind its header: FetchModel and
// ExportModel.
#ifndef TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_
#define TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/rpc/chunk_stream.h"
#include "server/rpc/wire.h"

namespace tributary {

template <typename Response>
class ModelStream final : public ChunkStream<Response> {
 public:
  using ReaderPtr = LiveHost::ReaderPtr;
  using SentCallback = absl::AnyInvocable<void(uint64_t bytes)>;

  // All who are sent the same version, by as many deltas, share its chunks in `cache`; null: not.
  // `sent` is told at the end how many bytes of the model were written; may be null.
  ModelStream(const ServiceDeps* deps, ByteBudget* budget, ChunkCache* cache, SentCallback sent)
      : ChunkStream<Response>(deps, budget, cache), sent_(std::move(sent)) {}

  // Before Send: the mask goes with the header, unless the client holds it.
  void SetMask(const SentMask& mask, const std::optional<Xxh128>& held) {
    wire::Put(mask.checksum, header_.mutable_header()->mutable_mask_xxh128());
    if (held != mask.checksum) header_.mutable_header()->set_mask(mask.bytes);
  }
  // As ChunkStream's.
  void Send(const JobId& job, ReaderPtr reader, uint64_t offset, bool unchanged) {
    const auto read = [reader](uint64_t from, uint64_t length, std::string& out) {
      return reader->Read(from, length, out);
    };
    const std::string content =
        absl::StrCat(job.value(), "/", reader->record().version, "/", reader->deltas().size());
    if (!this->Begin(content, read, offset, reader->size_bytes())) return;
    if (unchanged) this->SkipToEnd();
    FillHeader(job, *reader, unchanged);
    this->WriteHeader(header_);
  }

 private:
  void FillHeader(const JobId& job, const ModelReader& reader, bool unchanged) {
    v1::ModelHeader* header = nullptr;
    if constexpr (requires { header_.mutable_header()->mutable_model(); }) {
      header_.mutable_header()->set_unchanged(unchanged);
      for (const DeltaPart& part : reader.deltas()) {
        v1::ModelDelta* const delta = header_.mutable_header()->add_deltas();
        delta->set_version(part.version);
        delta->set_bytes(part.bytes);
      }
      header = header_.mutable_header()->mutable_model();
    } else {
      header = header_.mutable_header();
    }
    wire::Put(job, reader.record(), *reader.layout(), reader.size_bytes(), header);
  }

  void OnDone() override {
    if (sent_) sent_(this->written_);
    ChunkStream<Response>::OnDone();
  }

  SentCallback sent_;
  Response header_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_MODEL_STREAM_H_
