#include "server/operator/model_commands.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/cli/format.h"
#include "common/digest.h"
#include "common/params/param_layout.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/operator/messages.h"
#include "server/operator/new_file.h"
#include "server/operator/transfer.h"

namespace tributary::op {
namespace {

using cli::FormatBytes;
using cli::FormatPercent;
using cli::FormatTable;

absl::StatusOr<LayoutPtr> LayoutOf(const v1::ModelHeader& header) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const v1::TensorSpec& spec : header.layout().tensors()) {
    ParamLayout::Tensor tensor;
    tensor.name = spec.name();
    tensor.shape.assign(spec.shape().begin(), spec.shape().end());
    tensor.kind = spec.buffer() ? TensorKind::kBuffer : TensorKind::kTrainable;
    tensors.push_back(std::move(tensor));
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  if (layout->digest().ToBytes() != header.layout().digest() ||
      static_cast<uint64_t>(layout->size()) * sizeof(float) != header.total_bytes()) {
    return absl::DataLossError("the server's model layout contradicts itself");
  }
  return layout;
}

// One download: the header once, then values, over as many streams as it takes.
class Download {
 public:
  Download(Connection& connection, const std::string& job_id, Version version, NewFile& file)
      : connection_(connection), file_(file) {
    request_.set_job_id(job_id);
    request_.set_version(version);
  }

  const v1::ModelHeader& header() const { return header_; }

  absl::Status Run(const Console& console) {
    Patience patience(console);
    for (;;) {
      const uint64_t before = request_.offset();
      const absl::Status status = RunStream();
      if (!has_header_ || !IsBrokenTransfer(status) ||
          !patience.TryAgain(status, request_.offset() > before,
                             absl::StrCat("byte ", request_.offset()))) {
        return status;
      }
    }
  }

 private:
  absl::Status RunStream() {
    grpc::ClientContext context;
    const auto stream = connection_.stub().ExportModel(&context, request_);
    v1::ExportModelResponse response;
    absl::Status taken;
    while (taken.ok() && stream->Read(&response)) {
      taken = response.has_header() ? Take(response.header()) : Take(response.chunk());
    }
    if (!taken.ok()) {
      context.TryCancel();
      stream->Finish();
      return taken;
    }
    TRIB_RETURN_IF_ERROR(connection_.ToStatus(stream->Finish()));
    return CheckComplete();
  }

  absl::Status Take(const v1::ModelHeader& header) {
    if (has_header_) {
      if (header.model_digest() == header_.model_digest()) return absl::OkStatus();
      return absl::AbortedError("the server now offers another model; start again");
    }
    TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, LayoutOf(header));
    header_ = header;
    has_header_ = true;
    // From now on exactly this version, also when the newest was asked for.
    request_.set_version(header.version());
    return file_.Write(SerializeSafetensorsHeader(
        *layout, {{"tributary.job", header.job_id()},
                  {"tributary.version", absl::StrCat(header.version())},
                  {"tributary.model_digest", absl::BytesToHexString(header.model_digest())}}));
  }

  absl::Status Take(const v1::Chunk& chunk) {
    if (!has_header_ || chunk.offset() != request_.offset() ||
        chunk.data().size() > header_.total_bytes() - chunk.offset() ||
        Xxh3(chunk.data()) != chunk.xxh3()) {
      return absl::DataLossError(absl::StrCat("a bad chunk at byte ", chunk.offset()));
    }
    TRIB_RETURN_IF_ERROR(file_.Write(chunk.data()));
    sha256_.Update(absl::string_view(chunk.data()));
    request_.set_offset(request_.offset() + chunk.data().size());
    return absl::OkStatus();
  }

  absl::Status CheckComplete() {
    if (!has_header_ || request_.offset() != header_.total_bytes()) {
      return absl::UnavailableError("the stream ended early");
    }
    const Digest digest = sha256_.Finish();
    if (digest.ToBytes() == header_.model_digest()) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the values' SHA-256 is ", digest.ToHex(), ", not ",
                                            absl::BytesToHexString(header_.model_digest())));
  }

  Connection& connection_;
  NewFile& file_;
  v1::ExportModelRequest request_;
  v1::ModelHeader header_;
  bool has_header_ = false;
  Sha256 sha256_;
};

}  // namespace

ExitCode ListVersions(const Console& console, Connection& connection, const std::string& job_id) {
  v1::ListVersionsRequest request;
  request.set_job_id(job_id);
  const auto response = connection.Call(&v1::Operator::StubInterface::ListVersions, request);
  if (!response.ok()) return console.Fail(response.status());
  if (console.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const v1::ModelVersion& version : response->versions()) list.push_back(ToJson(version));
    console.PrintJson(list);
    return ExitCode::kDone;
  }
  std::vector<std::vector<std::string>> rows = {
      {"VERSION", "PUBLISHED", "UPDATES", "ACCURACY", "LOSS", "SIZE", "DIGEST"}};
  for (const v1::ModelVersion& version : response->versions()) {
    const bool evaluated = version.has_evaluation() && version.evaluation().version() >= 0;
    rows.push_back({absl::StrCat(version.version()), FormatTime(version.published_at()),
                    absl::StrCat(version.updates()),
                    evaluated ? FormatPercent(version.evaluation().accuracy()) : "-",
                    evaluated ? absl::StrFormat("%.4f", version.evaluation().loss()) : "-",
                    version.kept() ? FormatBytes(static_cast<double>(version.bytes())) : "not kept",
                    absl::BytesToHexString(version.model_digest()).substr(0, 12)});
  }
  console.out << FormatTable(rows);
  return ExitCode::kDone;
}

absl::StatusOr<v1::ModelHeader> DownloadModel(const Console& console, Connection& connection,
                                              const std::string& job_id, Version version,
                                              const std::string& path) {
  NewFile file(path);
  TRIB_RETURN_IF_ERROR(file.Open());
  Download download(connection, job_id, version, file);
  TRIB_RETURN_IF_ERROR(download.Run(console));
  TRIB_RETURN_IF_ERROR(file.Commit());
  return download.header();
}

ExitCode ExportModel(const Console& console, Connection& connection, const std::string& job_id,
                     Version version, const std::string& path) {
  const auto header = DownloadModel(console, connection, job_id, version, path);
  if (!header.ok()) return FailTransfer(console, header.status());
  const std::string digest = absl::BytesToHexString(header->model_digest());
  if (console.json) {
    console.PrintJson({{"job_id", header->job_id()},
                       {"version", header->version()},
                       {"model_digest", digest},
                       {"bytes", header->total_bytes()},
                       {"path", path}});
  } else {
    console.out << "version " << header->version() << " of " << header->job_id() << " -> " << path
                << " (" << FormatBytes(static_cast<double>(header->total_bytes())) << ", sha256 "
                << digest << ")\n";
  }
  return ExitCode::kDone;
}

}  // namespace tributary::op
