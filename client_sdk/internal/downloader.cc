#include "client_sdk/internal/downloader.h"

#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

static_assert(std::endian::native == std::endian::little, "models travel as they lie in memory");

constexpr int kMaxWholeFailures = 3;

// What has arrived of one model, over any number of calls.
class IncomingModel final : public ModelSink {
 public:
  IncomingModel(JobId job, Version version, int64_t max_bytes, const TransferOptions& options)
      : job_(std::move(job)), version_(version), max_bytes_(max_bytes), options_(options) {}

  absl::Status OnHeader(const ModelHeader& header, bool unchanged) override;
  absl::Status OnChunk(const Chunk& chunk) override;

  // Forgets everything: the next call starts at byte 0.
  void Restart() {
    header_.reset();
    params_ = ParamVector();
    received_ = 0;
  }

  int64_t received() const { return received_; }
  bool unchanged() const { return unchanged_; }
  bool complete() const { return header_ && received_ == header_->total_bytes; }
  const ModelHeader& header() const { return *header_; }
  ParamVector& params() { return params_; }

 private:
  absl::Status Check(const ModelHeader& header) const;

  const JobId job_;
  const Version version_;
  const int64_t max_bytes_;
  const TransferOptions& options_;
  std::optional<ModelHeader> header_;
  ParamVector params_;
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
  if (header.total_bytes != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model has ", header.total_bytes, " bytes, its layout says ", expected));
  }
  if (expected > max_bytes_) {
    return absl::OutOfRangeError(
        absl::StrCat("the model has ", expected, " bytes, more than max_model_bytes ", max_bytes_));
  }
  return absl::OkStatus();
}

absl::Status IncomingModel::OnHeader(const ModelHeader& header, bool unchanged) {
  TRIB_RETURN_IF_ERROR(Check(header));
  unchanged_ = unchanged;
  if (received_ > 0 && header.model_digest != header_->model_digest) {
    Restart();
    return absl::AbortedError("the model changed between two parts of its transfer");
  }
  if (received_ == 0) header_ = header;
  if (params_.empty() && !unchanged) params_ = ParamVector(header.layout);
  return absl::OkStatus();
}

absl::Status IncomingModel::OnChunk(const Chunk& chunk) {
  const int64_t size = static_cast<int64_t>(chunk.data.size());
  if (!header_ || unchanged_) return absl::InvalidArgumentError("a chunk where none belongs");
  if (chunk.offset != received_ || size > header_->total_bytes - received_) {
    return absl::DataLossError(absl::StrCat("a chunk of ", size, " bytes at ", chunk.offset,
                                            ", expected one at ", received_, " of ",
                                            header_->total_bytes));
  }
  if (Xxh3(chunk.data) != chunk.xxh3) {
    return absl::DataLossError(absl::StrCat("the chunk at byte ", chunk.offset, " is damaged"));
  }
  std::memcpy(reinterpret_cast<char*>(params_.values().data()) + received_, chunk.data.data(),
              chunk.data.size());
  received_ += size;
  if (options_.progress) options_.progress(received_, header_->total_bytes);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ParamVector>> Download(Connection& connection,
                                                            const JobId& job, Version version,
                                                            int64_t max_model_bytes,
                                                            const TransferOptions& options,
                                                            ModelCache& cache, Retry& retry) {
  std::optional<HeldModel> held;
  if (const HeldModel* found = cache.Find(job, version)) held = *found;

  IncomingModel model(job, version, max_model_bytes, options);
  FetchRequest request{.job = job, .version = version};
  if (held) request.have_digest = held->digest;
  for (int whole_failures = 0;;) {
    request.offset = model.received();
    absl::Status status = connection.FetchModel(request, model, options.stop);
    if (status.ok() && model.unchanged()) {
      if (!held || held->digest != model.header().model_digest ||
          held->params->layout()->digest() != model.header().layout->digest()) {
        return absl::InvalidArgumentError("the server says `unchanged` of another model");
      }
      held->version = version;
      cache.Put(*held);
      return held->params;
    }
    if (model.received() > request.offset) retry.Succeeded();
    if (status.ok() && !model.complete()) {
      status = absl::UnavailableError(
          absl::StrCat("the model's transfer ended early, at byte ", model.received()));
    }
    if (status.ok() && model.params().ComputeDigest() != model.header().model_digest) {
      status = absl::DataLossError("the model does not have the digest that its header states");
      model.Restart();
      if (++whole_failures == kMaxWholeFailures) return status;
    }
    if (status.ok()) break;
    TRIB_RETURN_IF_ERROR(retry.AfterFailure(status));
  }
  auto params = std::make_shared<const ParamVector>(std::move(model.params()));
  cache.Put({job, version, model.header().model_digest, params});
  return params;
}

}  // namespace tributary::sdk
