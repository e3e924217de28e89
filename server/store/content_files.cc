#include "server/store/content_files.h"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <future>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie");

constexpr size_t kBlockValues = 1 << 18;  // 1 MiB: hashed while it is in the cache
constexpr size_t kBlockBytes = kBlockValues * sizeof(float);
constexpr size_t kLargeBytes = size_t{8} << 20;

absl::Status WriteDurably(const std::string& path, absl::string_view bytes) {
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(path, O_WRONLY | O_CREAT | O_TRUNC));
  TRIB_RETURN_IF_ERROR(file.Append(bytes));
  return file.Sync();
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

}  // namespace

// A file that is read from its first value to its last, and then compared.
class ContentFiles::Reading {
 public:
  Reading(const ContentFiles& files, const File& file, const Digest& digest)
      : files_(files), file_(file), digest_(digest), seen_(files.Seen(digest)) {
    if (!seen_) sha256_.emplace();
  }

  absl::Status Next(size_t first, absl::Span<float> values) {
    auto* const bytes = reinterpret_cast<char*>(values.data());
    const size_t size = values.size() * sizeof(float);
    TRIB_RETURN_IF_ERROR(file_.ReadAt(first * sizeof(float), bytes, size));
    xxh3_.Update({bytes, size});
    if (sha256_) sha256_->Update(absl::string_view(bytes, size));
    return absl::OkStatus();
  }

  absl::Status Finish() {
    const Xxh128 found = xxh3_.Value();
    if (seen_ ? found == *seen_ : sha256_->Finish() == digest_) {
      files_.Note(digest_, found);
      return absl::OkStatus();
    }
    return absl::DataLossError(
        absl::StrCat(file_.path(), " is damaged: what is in it is not what its name says"));
  }

 private:
  const ContentFiles& files_;
  const File& file_;
  const Digest digest_;
  const std::optional<Xxh128> seen_;
  Xxh3Stream xxh3_;
  std::optional<Sha256> sha256_;
};

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
  // SHA-256 takes longer than a fast disk: large contents have it on a thread of its own, if there
  // is one to be had.
  const bool beside = bytes.size() >= kLargeBytes;
  auto digest =
      std::async(beside ? std::launch::async | std::launch::deferred : std::launch::deferred,
                 [bytes] { return Sha256::Of(bytes); });
  absl::Status status = WriteDurably(temporary, bytes);
  const Xxh128 content = Xxh128Of(bytes);
  const Digest name = digest.get();
  if (status.ok()) status = Name(temporary, name);
  if (status.ok()) {
    Note(name, content);
    return name;
  }
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

absl::Status ContentFiles::Read(const File& file, const Digest& digest,
                                absl::Span<float> values) const {
  Reading reading(*this, file, digest);
  for (size_t at = 0; at < values.size(); at += kBlockValues) {
    TRIB_RETURN_IF_ERROR(reading.Next(at, values.subspan(at, kBlockValues)));
  }
  return reading.Finish();
}

absl::Status ContentFiles::ReadBlocks(
    const File& file, const Digest& digest, size_t count,
    const std::function<void(size_t first, absl::Span<const float> values)>& take) const {
  Reading reading(*this, file, digest);
  std::vector<float> block(std::min(count, kBlockValues));
  for (size_t at = 0; at < count; at += kBlockValues) {
    const auto values = absl::MakeSpan(block).first(std::min(kBlockValues, count - at));
    TRIB_RETURN_IF_ERROR(reading.Next(at, values));
    take(at, values);
  }
  return reading.Finish();
}

std::optional<Xxh128> ContentFiles::Seen(const Digest& digest) const {
  MutexLock lock(mu_);
  const auto it = seen_.find(digest);
  return it == seen_.end() ? std::nullopt : std::optional(it->second);
}

void ContentFiles::Note(const Digest& digest, const Xxh128& content) const {
  MutexLock lock(mu_);
  seen_[digest] = content;
}

absl::Status ContentFiles::Remove(const Digest& digest) {
  {
    MutexLock lock(mu_);
    seen_.erase(digest);
  }
  return RemoveFile(PathOf(digest));
}

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
