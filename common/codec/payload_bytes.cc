#include "common/codec/payload_bytes.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr uint64_t kBlockBytes = 256 << 10;

}  // namespace

absl::StatusOr<PayloadBytes> PayloadBytes::Of(File file) {
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  return PayloadBytes(std::make_shared<const File>(std::move(file)), size);
}

absl::Status PayloadBytes::Read(uint64_t offset, absl::Span<char> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    return absl::OutOfRangeError(
        absl::StrCat("asked for ", out.size(), " bytes at ", offset, " of a payload of ", size_));
  }
  if (file_ != nullptr) return file_->ReadAt(offset, out.data(), out.size());
  if (!out.empty()) std::memcpy(out.data(), memory_.data() + offset, out.size());
  return absl::OkStatus();
}

absl::StatusOr<Xxh128> PayloadBytes::Checksum() const {
  Xxh3Stream hash;
  if (in_memory()) {
    hash.Update(memory_);
    return hash.Value();
  }
  std::string block(std::min(size_, kBlockBytes), '\0');
  for (uint64_t at = 0; at < size_; at += block.size()) {
    const auto part = absl::MakeSpan(block).first(std::min<uint64_t>(block.size(), size_ - at));
    TRIB_RETURN_IF_ERROR(Read(at, part));
    hash.Update(absl::string_view(part.data(), part.size()));
  }
  return hash.Value();
}

void PayloadBytes::Truncate(uint64_t size) {
  TRIB_CHECK(size <= size_);
  size_ = size;
  if (in_memory()) memory_.resize(size);
}

absl::StatusOr<std::string> PayloadBytes::Take() && {
  if (in_memory()) return std::move(memory_);
  std::string bytes(size_, '\0');
  TRIB_RETURN_IF_ERROR(Read(0, absl::MakeSpan(bytes)));
  return bytes;
}

}  // namespace tributary
