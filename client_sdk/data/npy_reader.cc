#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/data/readers.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr absl::string_view kTypes = "<f4, <f8, |u1, <i4, <i8";

struct NpyArray {
  std::string type;  // "f4", "f8", "u1", "i4", "i8"
  std::vector<int64_t> shape;
  std::string bytes;
  size_t start = 0;  // of the values in bytes

  size_t item_size() const { return static_cast<size_t>(type[1] - '0'); }
  size_t size() const { return (bytes.size() - start) / item_size(); }

  template <typename From, typename To>
  void CopyAs(std::vector<To>& out) const {
    out.resize(size());
    for (size_t i = 0; i < out.size(); ++i) {
      From value;
      std::memcpy(&value, bytes.data() + start + i * sizeof(From), sizeof(From));
      out[i] = static_cast<To>(value);
    }
  }
};

// What stands after `'key':` in the header, which is a Python dict literal that NumPy
// writes in one fixed style.
absl::StatusOr<absl::string_view> HeaderValue(absl::string_view header, absl::string_view key) {
  const std::string quoted = absl::StrCat("'", key, "':");
  const size_t at = header.find(quoted);
  if (at == absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the npy header has no '", key, "'"));
  }
  return absl::StripLeadingAsciiWhitespace(header.substr(at + quoted.size()));
}

absl::StatusOr<std::string> ParseType(absl::string_view header) {
  TRIB_ASSIGN_OR_RETURN(const absl::string_view value, HeaderValue(header, "descr"));
  for (const absl::string_view type : absl::StrSplit(kTypes, ", ")) {
    if (value.substr(0, 5) == absl::StrCat("'", type, "'")) return std::string(type.substr(1));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("type ", value.substr(0, value.find(',')), " is not read; allowed: ", kTypes));
}

absl::StatusOr<std::vector<int64_t>> ParseShape(absl::string_view header) {
  TRIB_ASSIGN_OR_RETURN(const absl::string_view value, HeaderValue(header, "shape"));
  const size_t close = value.find(')');
  if (value.empty() || value[0] != '(' || close == absl::string_view::npos) {
    return absl::InvalidArgumentError("the npy header has no shape in parentheses");
  }
  std::vector<int64_t> shape;
  int64_t size = 1;
  for (const absl::string_view text :
       absl::StrSplit(value.substr(1, close - 1), ',', absl::SkipWhitespace())) {
    int64_t dimension = 0;
    if (!absl::SimpleAtoi(text, &dimension) || dimension < 1 ||
        size > kMaxDatasetBytes / dimension) {
      return absl::InvalidArgumentError(
          absl::StrCat("dimension '", text, "' of the shape; allowed: at least 1, and at most ",
                       kMaxDatasetBytes, " values in all"));
    }
    size *= dimension;
    shape.push_back(dimension);
  }
  if (shape.empty()) return absl::InvalidArgumentError("the array is a single value");
  return shape;
}

absl::Status ParseNpy(NpyArray& array) {
  const std::string& bytes = array.bytes;
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0 || bytes[6] < 1 || bytes[6] > 3) {
    return absl::InvalidArgumentError("not an npy file of version 1, 2 or 3");
  }
  const size_t length_bytes = bytes[6] == 1 ? 2 : 4;
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, length_bytes);
  if (length > bytes.size() - 8 - length_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("cut off in its header of ", length, " bytes"));
  }
  array.start = 8 + length_bytes + length;
  const absl::string_view header(bytes.data() + 8 + length_bytes, length);
  TRIB_ASSIGN_OR_RETURN(array.type, ParseType(header));
  TRIB_ASSIGN_OR_RETURN(array.shape, ParseShape(header));
  TRIB_ASSIGN_OR_RETURN(const absl::string_view order, HeaderValue(header, "fortran_order"));
  if (order.substr(0, 5) != "False") {
    return absl::InvalidArgumentError(
        "in Fortran order; expected C order (numpy.ascontiguousarray)");
  }
  size_t expected = array.item_size();
  for (const int64_t dimension : array.shape) expected *= static_cast<size_t>(dimension);
  if (bytes.size() - array.start != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds ", bytes.size() - array.start, " bytes of values; its shape (",
                     absl::StrJoin(array.shape, ", "), ") of ", array.type, " takes ", expected));
  }
  return absl::OkStatus();
}

absl::StatusOr<NpyArray> ReadNpyFile(const std::string& path) {
  NpyArray array;
  TRIB_ASSIGN_OR_RETURN(array.bytes, ReadFileBytes(path, kMaxDatasetBytes));
  TRIB_RETURN_IF_ERROR(WithContext(ParseNpy(array), path));
  return array;
}

// [n] -> {1}, [n, f] -> {f}, [n, h, w] -> {1, h, w}, else as it stands.
std::vector<int64_t> ExampleShape(const std::vector<int64_t>& shape) {
  std::vector<int64_t> example(shape.begin() + 1, shape.end());
  if (example.size() != 1 && example.size() != 3) example.insert(example.begin(), 1);
  return example;
}

absl::Status FillInputs(const NpyArray& array, Dataset& data) {
  if (array.type == "u1") {
    array.CopyAs<uint8_t>(data.pixels);
    return absl::OkStatus();
  }
  if (array.type == "f4") array.CopyAs<float>(data.features);
  if (array.type == "f8") array.CopyAs<double>(data.features);
  if (array.type == "i4") array.CopyAs<int32_t>(data.features);
  if (array.type == "i8") array.CopyAs<int64_t>(data.features);
  const auto bad = std::find_if_not(data.features.begin(), data.features.end(),
                                    [](float value) { return std::isfinite(value); });
  if (bad == data.features.end()) return absl::OkStatus();
  const int64_t width = data.example_size();
  const int64_t at = bad - data.features.begin();
  return absl::InvalidArgumentError(absl::StrCat("example ", at / width, ", value ", at % width,
                                                 ": found ", *bad, ", expected a finite number"));
}

absl::Status FillLabels(const NpyArray& array, std::optional<int64_t> num_classes, Dataset& data) {
  if (array.type[0] == 'f' || array.shape.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("labels must be integers of shape (n), found ",
                                                   array.type, " of shape (",
                                                   absl::StrJoin(array.shape, ", "), ")"));
  }
  if (array.type == "u1") array.CopyAs<uint8_t>(data.labels);
  if (array.type == "i4") array.CopyAs<int32_t>(data.labels);
  if (array.type == "i8") array.CopyAs<int64_t>(data.labels);
  constexpr int64_t kMaxClasses = 100000;
  const int64_t largest = *std::max_element(data.labels.begin(), data.labels.end());
  if (!num_classes && largest >= kMaxClasses) {
    return absl::InvalidArgumentError(
        absl::StrCat("the largest label is ", largest, "; allowed: below ", kMaxClasses));
  }
  data.num_classes = num_classes.value_or(largest + 1);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Dataset> ReadNpy(const std::string& features_path, const std::string& labels_path,
                                std::optional<int64_t> num_classes) {
  TRIB_ASSIGN_OR_RETURN(const NpyArray inputs, ReadNpyFile(features_path));
  TRIB_ASSIGN_OR_RETURN(const NpyArray labels, ReadNpyFile(labels_path));
  if (inputs.shape[0] != labels.shape[0]) {
    return absl::InvalidArgumentError(absl::StrCat(labels_path, ": ", labels.shape[0],
                                                   " labels for the ", inputs.shape[0],
                                                   " examples of ", features_path));
  }
  Dataset data;
  data.example_shape = ExampleShape(inputs.shape);
  TRIB_RETURN_IF_ERROR(WithContext(FillInputs(inputs, data), features_path));
  TRIB_RETURN_IF_ERROR(WithContext(FillLabels(labels, num_classes, data), labels_path));
  TRIB_RETURN_IF_ERROR(WithContext(data.Validate(), labels_path));
  return data;
}

}  // namespace tributary
