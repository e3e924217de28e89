#include "client_sdk/internal/downloader.h"

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

static_assert(std::endian::native == std::endian::little, "models travel as they lie in memory");

constexpr int kMaxWholeFailures = 3;

// What has arrived of one model, over any number of calls.
class IncomingModel final : public ModelSink {
 public:
  // `base` null: no deltas are taken.
  IncomingModel(JobId job, Version version, int64_t max_bytes, const TransferOptions& options,
                const HeldModel* base)
      : job_(std::move(job)),
        version_(version),
        max_bytes_(max_bytes),
        options_(options),
        base_(base) {}

  absl::Status OnHeader(const ModelHeader& header, bool unchanged) override;
  absl::Status OnChunk(const Chunk& chunk) override;

  // Forgets everything: the next call starts at byte 0.
  void Restart() {
    header_.reset();
    params_ = ParamVector();
    deltas_.clear();
    received_ = 0;
  }
  void TakeNoDeltas() { base_ = nullptr; }

  // Once it is complete: the model of what has arrived. InvalidArgument: it makes none. DataLoss:
  // it makes another one.
  absl::Status Assemble(const VersionDelta* delta);

  int64_t received() const { return received_; }
  bool in_deltas() const { return header_ && !header_->deltas.empty(); }
  bool unchanged() const { return unchanged_; }
  bool complete() const { return header_ && received_ == header_->total_bytes; }
  const ModelHeader& header() const { return *header_; }
  ParamVector& params() { return params_; }

 private:
  absl::Status Check(const ModelHeader& header) const;
  absl::Status CheckDeltas(const ModelHeader& header, int64_t model_bytes) const;
  char* destination() {
    return in_deltas() ? deltas_.data() : reinterpret_cast<char*>(params_.values().data());
  }

  const JobId job_;
  const Version version_;
  const int64_t max_bytes_;
  const TransferOptions& options_;
  const HeldModel* base_;
  std::optional<ModelHeader> header_;
  ParamVector params_;
  std::string deltas_;
  int64_t received_ = 0;
  bool unchanged_ = false;
};

absl::Status IncomingModel::Check(const ModelHeader& header) const {
  if (header.job != job_ || header.version != version_) {
    return absl::InvalidArgumentError(absl::StrCat("asked for version ", version_, " of job ",
                                                   job_.value(), ", was sent ", header.version,
                                                   " of ", header.job.value()));
  }
  const int64_t expected = header.layout->size() * static_cast<int64_t>(sizeof(float));
  if (header.deltas.empty() && header.total_bytes != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model has ", header.total_bytes, " bytes, its layout says ", expected));
  }
  if (expected > max_bytes_) {
    return absl::OutOfRangeError(
        absl::StrCat("the model has ", expected, " bytes, more than max_model_bytes ", max_bytes_));
  }
  return header.deltas.empty() ? absl::OkStatus() : CheckDeltas(header, expected);
}

absl::Status IncomingModel::CheckDeltas(const ModelHeader& header, int64_t model_bytes) const {
  if (base_ == nullptr) return absl::InvalidArgumentError("deltas that were not asked for");
  if (header.layout->digest() != base_->params->layout()->digest()) {
    return absl::InvalidArgumentError("deltas to a model of another layout");
  }
  Version version = base_->version;
  int64_t left = header.total_bytes;
  for (const DeltaPart& delta : header.deltas) {
    if (delta.version != ++version || delta.bytes < 1 || delta.bytes > left) break;
    left -= delta.bytes;
  }
  if (version != header.version || left != 0 || header.total_bytes > model_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        header.deltas.size(), " deltas of ", header.total_bytes, " bytes do not lead from version ",
        base_->version, " to ", header.version, ", or are more than its ", model_bytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status IncomingModel::OnHeader(const ModelHeader& header, bool unchanged) {
  TRIB_RETURN_IF_ERROR(Check(header));
  unchanged_ = unchanged;
  if (received_ > 0 &&
      (header.model_digest != header_->model_digest || header.deltas != header_->deltas)) {
    Restart();
    return absl::AbortedError("the model changed between two parts of its transfer");
  }
  if (received_ > 0 || unchanged) {
    header_ = header;
    return absl::OkStatus();
  }
  Restart();
  header_ = header;
  if (in_deltas()) {
    deltas_.resize(static_cast<size_t>(header.total_bytes));
  } else {
    params_ = ParamVector(header.layout);
  }
  return absl::OkStatus();
}

absl::Status IncomingModel::OnChunk(const Chunk& chunk) {
  if (!header_ || unchanged_) return absl::InvalidArgumentError("a chunk where none belongs");
  TRIB_RETURN_IF_ERROR(CheckChunk(chunk, received_, header_->total_bytes));
  std::memcpy(destination() + received_, chunk.data.data(), chunk.data.size());
  received_ += static_cast<int64_t>(chunk.data.size());
  if (options_.progress) options_.progress(received_, header_->total_bytes);
  return absl::OkStatus();
}

absl::Status IncomingModel::Assemble(const VersionDelta* delta) {
  if (in_deltas()) {
    params_ = base_->params->Clone();
    size_t begin = 0;
    for (const DeltaPart& part : header_->deltas) {
      const auto size = static_cast<size_t>(part.bytes);
      TRIB_RETURN_IF_ERROR(delta->Apply(part.version, deltas_.substr(begin, size), params_));
      begin += size;
    }
  }
  if (params_.ComputeDigest() == header_->model_digest) return absl::OkStatus();
  return absl::DataLossError("the model does not have the digest that its header states");
}

// Keeps the mask that goes with a model, as its header says.
absl::Status TakeMask(const ModelHeader& header, ModelCache& cache) {
  const HeldMask* const held = cache.FindMask(header.job);
  if (!header.mask_xxh128) {
    cache.PutMask(header.job, std::nullopt);
    return absl::OkStatus();
  }
  if (held != nullptr && held->checksum == *header.mask_xxh128) return absl::OkStatus();
  if (Xxh128Of(header.mask) != *header.mask_xxh128) {
    return absl::DataLossError("the mask does not have the checksum that its header states");
  }
  TRIB_ASSIGN_OR_RETURN(Mask mask, UnpackMask(header.layout->trainable_size(), header.mask));
  cache.PutMask(header.job,
                HeldMask{*header.mask_xxh128, std::make_shared<const Mask>(std::move(mask))});
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckChunk(const Chunk& chunk, int64_t received, int64_t total) {
  const auto size = static_cast<int64_t>(chunk.data.size());
  if (chunk.offset != received || size > total - received) {
    return absl::DataLossError(absl::StrCat("a chunk of ", size, " bytes at ", chunk.offset,
                                            ", expected one at ", received, " of ", total));
  }
  if (Xxh3(chunk.data) == chunk.xxh3) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the chunk at byte ", chunk.offset, " is damaged"));
}

absl::StatusOr<std::shared_ptr<const ParamVector>> Download(
    Connection& connection, const JobId& job, Version version, int64_t max_model_bytes,
    const TransferOptions& options, ModelCache& cache, Retry& retry, const VersionDelta* delta) {
  std::optional<HeldModel> held;
  if (const HeldModel* found = cache.Find(job, version)) held = *found;
  if (!held || held->version != version) cache.MakeRoom();

  IncomingModel model(job, version, max_model_bytes, options,
                      held && delta != nullptr ? &*held : nullptr);
  FetchRequest request{.job = job, .version = version};
  if (held) request.have_digest = held->digest;
  if (held && delta != nullptr) request.have_version = held->version;
  if (const HeldMask* mask = cache.FindMask(job)) request.have_mask = mask->checksum;
  for (int whole_failures = 0;;) {
    request.offset = model.received();
    absl::Status status = connection.FetchModel(request, model, options.stop);
    if (status.ok() && model.unchanged()) {
      if (!held || held->digest != model.header().model_digest ||
          held->params->layout()->digest() != model.header().layout->digest()) {
        return absl::InvalidArgumentError("the server says `unchanged` of another model");
      }
      TRIB_RETURN_IF_ERROR(TakeMask(model.header(), cache));
      held->version = version;
      cache.Put(*held);
      return held->params;
    }
    if (model.received() > request.offset) retry.Succeeded();
    if (status.ok() && !model.complete()) {
      status = absl::UnavailableError(
          absl::StrCat("the model's transfer ended early, at byte ", model.received()));
    }
    if (status.ok()) {
      status = model.Assemble(delta);
      if (status.ok()) break;
      const bool in_deltas = model.in_deltas();
      model.Restart();
      if (in_deltas) {
        log::Warning("deltas not used",
                     {{"job", job.value()}, {"version", version}, {"error", status}});
        model.TakeNoDeltas();
        request.have_version.reset();
        continue;
      }
      if (++whole_failures == kMaxWholeFailures) return status;
    }
    TRIB_RETURN_IF_ERROR(retry.AfterFailure(status));
  }
  TRIB_RETURN_IF_ERROR(TakeMask(model.header(), cache));
  auto params = std::make_shared<const ParamVector>(std::move(model.params()));
  cache.Put({job, version, model.header().model_digest, params});
  return params;
}

}  // namespace tributary::sdk
