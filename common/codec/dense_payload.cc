#include "common/codec/dense_payload.h"

#include <bit>

namespace tributary {

static_assert(std::endian::native == std::endian::little, "elements are loaded as they stand");

std::string FloatsToBytes(absl::Span<const float> values) {
  if (values.empty()) return "";
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

}  // namespace tributary
