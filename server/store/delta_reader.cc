#include "server/store/delta_reader.h"

#include <algorithm>

#include "common/status_macros.h"
#include "server/store/store_errors.h"

namespace tributary {

void DeltaReader::Append(DeltaPart part, ReadDelta read) {
  size_ += part.bytes;
  parts_.push_back(part);
  reads_.push_back(std::move(read));
}

absl::Status DeltaReader::Read(uint64_t offset, uint64_t length, std::string& out) const {
  TRIB_RETURN_IF_ERROR(store::CheckRange(offset, length, size_));
  out.resize(length);
  absl::Span<char> rest = absl::MakeSpan(out);
  uint64_t begin = 0;
  for (size_t i = 0; i < parts_.size() && !rest.empty(); ++i) {
    const uint64_t end = begin + parts_[i].bytes;
    if (offset < end) {
      const auto here = rest.first(std::min<uint64_t>(rest.size(), end - offset));
      TRIB_RETURN_IF_ERROR(reads_[i](offset - begin, here));
      rest.remove_prefix(here.size());
      offset += here.size();
    }
    begin = end;
  }
  return absl::OkStatus();
}

}  // namespace tributary
