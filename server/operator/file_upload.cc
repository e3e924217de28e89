#include "server/operator/file_upload.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/cli/format.h"
#include "common/digest.h"
#include "common/durable_file.h"
#include "common/status_macros.h"
#include "server/operator/transfer.h"

namespace tributary::op {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;  // operator.proto
// Of a piece: after the last one the server makes all of them durable and hashes them, which takes
// a slow disk minutes for a large model.
constexpr absl::Duration kPieceTimeout = absl::Minutes(30);

absl::StatusOr<std::string> ReadPiece(const File& file, uint64_t offset, uint64_t size) {
  std::string piece(std::min(kPieceBytes, size - offset), '\0');
  TRIB_RETURN_IF_ERROR(file.ReadAt(offset, piece.data(), piece.size()));
  return piece;
}

absl::StatusOr<v1::FileDigest> DigestOf(const File& file) {
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  Sha256 hash;
  for (uint64_t at = 0; at < size;) {
    TRIB_ASSIGN_OR_RETURN(const std::string piece, ReadPiece(file, at, size));
    hash.Update(piece);
    at += piece.size();
  }
  v1::FileDigest digest;
  digest.set_sha256(hash.Finish().ToBytes());
  digest.set_bytes(size);
  return digest;
}

// One line that is drawn again, of files that take more than a moment.
class Progress {
 public:
  Progress(const Console& console, const std::string& path, uint64_t size)
      : out_(console.terminal && !console.json && size > kPieceBytes ? &console.out : nullptr),
        path_(path),
        size_(static_cast<double>(size)) {}
  ~Progress() {
    if (out_ != nullptr) *out_ << "\n";
  }
  void Show(uint64_t sent) {
    if (out_ == nullptr) return;
    const double bytes = static_cast<double>(sent);
    *out_ << "\rsending " << path_ << "  " << cli::FormatPercent(bytes / size_) << " of "
          << cli::FormatBytes(size_) << "\x1b[K" << std::flush;
  }

 private:
  std::ostream* const out_;
  const std::string path_;
  const double size_;
};

absl::StatusOr<uint64_t> PutPiece(Connection& connection, const v1::FileDigest& digest,
                                  uint64_t offset, std::string piece) {
  v1::PutFileRequest request;
  *request.mutable_file() = digest;
  request.mutable_chunk()->set_offset(offset);
  request.mutable_chunk()->set_xxh3(Xxh3(piece));
  request.mutable_chunk()->set_data(std::move(piece));
  TRIB_ASSIGN_OR_RETURN(
      const v1::PutFileResponse response,
      connection.Call(&v1::Operator::StubInterface::PutFile, request, kPieceTimeout));
  if (response.bytes() <= digest.bytes()) return response.bytes();
  return absl::InternalError(absl::StrCat("the server says that it has ", response.bytes(),
                                          " bytes of a file of ", digest.bytes()));
}

}  // namespace

absl::StatusOr<v1::FileDigest> UploadFile(const Console& console, Connection& connection,
                                          const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const File file, File::Open(path, O_RDONLY));
  TRIB_ASSIGN_OR_RETURN(v1::FileDigest digest, DigestOf(file));
  Patience patience(console);
  Progress progress(console, path, digest.bytes());
  uint64_t sent = 0;
  bool asked = false;  // how many bytes are there: by a piece without any
  bool progressed = false;
  while (!asked || sent < digest.bytes()) {
    std::string piece;
    if (asked) {
      TRIB_ASSIGN_OR_RETURN(piece, ReadPiece(file, sent, digest.bytes()));
    }
    const auto there = PutPiece(connection, digest, sent, std::move(piece));
    if (!there.ok()) {
      if (!IsBrokenTransfer(there.status()) ||
          !patience.TryAgain(there.status(), progressed, absl::StrCat("byte ", sent))) {
        return there.status();
      }
    }
    progressed = there.ok() && *there > sent;
    if (there.ok()) sent = *there;
    asked = there.ok();  // a server that started again has nothing
    progress.Show(sent);
  }
  return digest;
}

}  // namespace tributary::op
