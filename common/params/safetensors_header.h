// The JSON header of a safetensors file, apart from files and values.
#ifndef TRIBUTARY_COMMON_PARAMS_SAFETENSORS_HEADER_H_
#define TRIBUTARY_COMMON_PARAMS_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tributary::safetensors {

// The limit of the format's reference implementation.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes, from the end of the header
  uint64_t end = 0;
};

struct Header {
  std::vector<TensorEntry> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

// Takes hostile text; uses memory in proportion to it. After success the tensors' ranges
// follow each other without gaps, cover exactly `data_bytes` and match dtypes and shapes.
// InvalidArgument: what is wrong, of which tensor.
absl::StatusOr<Header> ParseHeader(absl::string_view json, uint64_t data_bytes);

}  // namespace tributary::safetensors

#endif  // TRIBUTARY_COMMON_PARAMS_SAFETENSORS_HEADER_H_
