// The header of a safetensors file, taken apart without the reader that is tested.
#ifndef TRIBUTARY_TESTS_TESTING_SAFETENSORS_HEADER_H_
#define TRIBUTARY_TESTS_TESTING_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

// {"<tensor>": {"dtype": …, "shape": …, "data_offsets": …}, "__metadata__": …}, after a look at
// what the format asks of it: a length of 8 bytes, tensors of float32 that follow each other to the
// end of the file.
inline nlohmann::json ReadSafetensorsHeader(const std::string& path) {
  const std::string bytes = ReadFile(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  size_t covered = 0;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    EXPECT_EQ(tensor["dtype"], "F32") << name;
    size_t size = 4;
    for (const auto& dimension : tensor["shape"]) size *= dimension.get<size_t>();
    EXPECT_EQ(tensor["data_offsets"][1].get<size_t>() - tensor["data_offsets"][0].get<size_t>(),
              size)
        << name;
    covered += size;
  }
  EXPECT_EQ(8 + length + covered, bytes.size());
  return header;
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_SAFETENSORS_HEADER_H_
