#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/data/readers.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

uint32_t BigEndian(const std::string& bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  return value;
}

struct IdxBytes {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

// An idx file is a magic number 0x0000TTDD (type 08: bytes; DD dimensions), the dimensions as
// big-endian 32-bit numbers, then the values.
absl::StatusOr<IdxBytes> ReadIdxFile(const std::string& path, size_t dimensions) {
  TRIB_ASSIGN_OR_RETURN(std::string bytes, ReadFileBytes(path, kMaxDatasetBytes));
  const size_t header = 4 + 4 * dimensions;
  const uint32_t expected_magic = 0x0800 + static_cast<uint32_t>(dimensions);
  if (bytes.size() < header || BigEndian(bytes, 0) != expected_magic) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: not an idx file of bytes in %d dimensions; expected it to start with %08x", path,
        dimensions, expected_magic));
  }
  IdxBytes idx;
  int64_t size = 1;
  for (size_t d = 0; d < dimensions; ++d) {
    idx.shape.push_back(BigEndian(bytes, 4 + 4 * d));
    if (idx.shape[d] == 0 || size > kMaxDatasetBytes / idx.shape[d]) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": dimension ", d, " is ", idx.shape[d],
                                                     "; allowed: at least 1, and at most ",
                                                     kMaxDatasetBytes, " bytes in all"));
    }
    size *= idx.shape[d];
  }
  if (static_cast<int64_t>(bytes.size() - header) != size) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds ", bytes.size() - header,
                                                   " bytes of values; its header says ", size));
  }
  idx.values.assign(bytes.begin() + static_cast<std::ptrdiff_t>(header), bytes.end());
  return idx;
}

}  // namespace

absl::StatusOr<Dataset> ReadIdx(const std::string& images_path, const std::string& labels_path,
                                int64_t num_classes) {
  TRIB_ASSIGN_OR_RETURN(IdxBytes images, ReadIdxFile(images_path, 3));
  TRIB_ASSIGN_OR_RETURN(IdxBytes labels, ReadIdxFile(labels_path, 1));
  if (images.shape[0] != labels.shape[0]) {
    return absl::InvalidArgumentError(absl::StrCat(labels_path, ": ", labels.shape[0],
                                                   " labels for the ", images.shape[0],
                                                   " images of ", images_path));
  }
  Dataset data;
  data.example_shape = {1, images.shape[1], images.shape[2]};
  data.num_classes = num_classes;
  data.pixels = std::move(images.values);
  data.labels.assign(labels.values.begin(), labels.values.end());
  TRIB_RETURN_IF_ERROR(WithContext(data.Validate(), labels_path));
  return data;
}

}  // namespace tributary
