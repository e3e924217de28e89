#include "server/store/content_files.h"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie");

constexpr size_t kBlockValues = 1 << 18;  // 1 MiB: hashed while it is in the cache
constexpr size_t kBlockBytes = kBlockValues * sizeof(float);

absl::StatusOr<Digest> WriteDurably(const std::string& path, absl::string_view bytes) {
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(path, O_WRONLY | O_CREAT | O_TRUNC));
  Sha256 hash;
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const absl::string_view block = bytes.substr(at, kBlockBytes);
    hash.Update(block);
    TRIB_RETURN_IF_ERROR(file.Append(block));
  }
  TRIB_RETURN_IF_ERROR(file.Sync());
  return hash.Finish();
}

absl::StatusOr<Digest> HashDurably(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(path, O_RDONLY));
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  Sha256 hash;
  std::string block;
  for (uint64_t at = 0; at < size; at += block.size()) {
    block.resize(std::min<uint64_t>(size - at, kBlockBytes));
    TRIB_RETURN_IF_ERROR(file.ReadAt(at, block.data(), block.size()));
    hash.Update(block);
  }
  TRIB_RETURN_IF_ERROR(file.Sync());
  return hash.Finish();
}

absl::Status ReadBlock(const File& file, size_t first, absl::Span<float> values, Sha256& hash) {
  TRIB_RETURN_IF_ERROR(file.ReadAt(first * sizeof(float), reinterpret_cast<char*>(values.data()),
                                   values.size() * sizeof(float)));
  hash.Update(absl::Span<const float>(values));
  return absl::OkStatus();
}

absl::Status Compare(const File& file, const Digest& found, const Digest& expected) {
  if (found == expected) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(file.path(), " is damaged: its SHA-256 is ", found.ToHex()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ContentFiles>> ContentFiles::Open(std::string dir,
                                                                 std::string suffix) {
  TRIB_RETURN_IF_ERROR(CreateDirectory(dir));
  return std::unique_ptr<ContentFiles>(new ContentFiles(std::move(dir), std::move(suffix)));
}

std::string ContentFiles::PathOf(const Digest& digest) const {
  const std::string hex = digest.ToHex();
  return absl::StrCat(dir_, "/", hex.substr(0, 2), "/", hex, suffix_);
}

absl::StatusOr<Digest> ContentFiles::Put(absl::Span<const float> values) {
  return Put(absl::string_view(reinterpret_cast<const char*>(values.data()),
                               values.size() * sizeof(float)));
}

absl::StatusOr<Digest> ContentFiles::Put(absl::string_view bytes) {
  const std::string temporary = absl::StrCat(dir_, "/", next_temporary_++, ".tmp");
  const absl::StatusOr<Digest> digest = WriteDurably(temporary, bytes);
  absl::Status status = digest.status();
  if (status.ok()) status = Name(temporary, *digest);
  if (status.ok()) return digest;
  RemoveFile(temporary).IgnoreError();
  return status;
}

absl::Status ContentFiles::Take(const std::string& path, const Digest& digest) {
  TRIB_ASSIGN_OR_RETURN(const Digest found, HashDurably(path));
  if (found == digest) return Name(path, digest);
  TRIB_RETURN_IF_ERROR(RemoveFile(path));
  return absl::InvalidArgumentError(
      absl::StrCat("the SHA-256 of what came is ", found.ToHex(), ", not ", digest.ToHex()));
}

absl::Status ContentFiles::Name(const std::string& durable, const Digest& digest) const {
  TRIB_RETURN_IF_ERROR(CreateDirectory(absl::StrCat(dir_, "/", digest.ToHex().substr(0, 2))));
  return RenameFile(durable, PathOf(digest));
}

absl::StatusOr<File> ContentFiles::OpenForReading(const Digest& digest, uint64_t bytes) const {
  absl::StatusOr<File> file = File::Open(PathOf(digest), O_RDONLY);
  if (absl::IsNotFound(file.status())) return absl::DataLossError(file.status().message());
  TRIB_RETURN_IF_ERROR(file.status());
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size == bytes) return file;
  return absl::DataLossError(
      absl::StrCat(file->path(), " is damaged: it has ", size, " bytes, expected ", bytes));
}

absl::Status ContentFiles::Read(const File& file, const Digest& digest, absl::Span<float> values) {
  Sha256 hash;
  for (size_t at = 0; at < values.size(); at += kBlockValues) {
    TRIB_RETURN_IF_ERROR(ReadBlock(file, at, values.subspan(at, kBlockValues), hash));
  }
  return Compare(file, hash.Finish(), digest);
}

absl::Status ContentFiles::ReadBlocks(
    const File& file, const Digest& digest, size_t count,
    const std::function<void(size_t first, absl::Span<const float> values)>& take) {
  Sha256 hash;
  std::vector<float> block(std::min(count, kBlockValues));
  for (size_t at = 0; at < count; at += kBlockValues) {
    const auto values = absl::MakeSpan(block).first(std::min(kBlockValues, count - at));
    TRIB_RETURN_IF_ERROR(ReadBlock(file, at, values, hash));
    take(at, values);
  }
  return Compare(file, hash.Finish(), digest);
}

absl::Status ContentFiles::Remove(const Digest& digest) { return RemoveFile(PathOf(digest)); }

absl::StatusOr<int64_t> ContentFiles::Sweep(const std::set<Digest>& wanted) {
  std::set<std::string> keep;
  for (const Digest& digest : wanted) keep.insert(PathOf(digest));
  TRIB_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(dir_));
  int64_t removed = 0;
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(dir_, "/", name);
    std::vector<std::string> files = {path};
    if (name.size() == 2) {
      TRIB_ASSIGN_OR_RETURN(files, ListDirectory(path));
      for (std::string& file : files) file = absl::StrCat(path, "/", file);
    }
    for (const std::string& file : files) {
      if (keep.contains(file)) continue;
      TRIB_RETURN_IF_ERROR(RemoveFile(file));
      ++removed;
    }
  }
  return removed;
}

}  // namespace tributary
