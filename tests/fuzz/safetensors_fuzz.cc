// Hostile bytes into ParseSafetensors. What is accepted must survive being written and read.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/params/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::map<std::string, std::string> metadata;
  const auto params = tributary::ParseSafetensors(
      absl::string_view(reinterpret_cast<const char*>(data), size), &metadata);
  if (!params.ok()) return 0;
  const absl::Span<const float> values = params->values();
  std::string again = tributary::SerializeSafetensorsHeader(*params->layout(), metadata);
  again.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  const auto copy = tributary::ParseSafetensors(again);
  TRIB_CHECK(copy.ok());
  TRIB_CHECK(copy->layout()->digest() == params->layout()->digest());
  TRIB_CHECK(copy->ComputeDigest() == params->ComputeDigest());
  return 0;
}
