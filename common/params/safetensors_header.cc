#include "common/params/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary::safetensors {
namespace {

absl::Status Error(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors: ", what));
}

absl::Status TensorError(absl::string_view name, absl::string_view what) {
  return Error(absl::StrCat("tensor '", name, "': ", what));
}

// Reads the header event by event: no tree is built, and whatever has no place in the format
// ends the reading at once.
class Reader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  absl::StatusOr<Header> Take() && {
    if (!error_.empty()) return Error(error_);
    return std::move(header_);
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return Enter(Place::kTop);
    if (place_ != Place::kTop) return Misplaced("an object");
    if (key_ == "__metadata__") return Enter(Place::kMetadata);
    header_.tensors.push_back({.name = key_});
    fields_.clear();
    return Enter(Place::kTensor);
  }

  bool end_object() override {
    if (place_ != Place::kTensor) return Enter(Place::kTop);
    if (fields_.size() != 3) return Fail("needs 'dtype', 'shape' and 'data_offsets'");
    if (offsets_.size() != 2) return Fail("'data_offsets' must be two numbers");
    header_.tensors.back().begin = offsets_[0];
    header_.tensors.back().end = offsets_[1];
    return Enter(Place::kTop);
  }

  bool key(std::string& name) override {
    key_ = name;
    if (place_ == Place::kTop) return names_.insert(name).second || Fail("is repeated");
    if (place_ == Place::kMetadata) {
      return header_.metadata.emplace(name, "").second || Fail("is repeated");
    }
    if (name != "dtype" && name != "shape" && name != "data_offsets") {
      return Fail("allowed are 'dtype', 'shape' and 'data_offsets'");
    }
    return fields_.insert(name).second || Fail("is repeated");
  }

  bool start_array(size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") return Enter(Place::kShape);
    if (place_ != Place::kTensor || key_ != "data_offsets") return Misplaced("a list");
    offsets_.clear();
    return Enter(Place::kOffsets);
  }
  bool end_array() override { return Enter(Place::kTensor); }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata[key_] = std::move(value);
    } else if (place_ == Place::kTensor && key_ == "dtype") {
      header_.tensors.back().dtype = std::move(value);
    } else {
      return Misplaced("a string");
    }
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::kShape &&
        value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      header_.tensors.back().shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::kOffsets && offsets_.size() < 2) {
      offsets_.push_back(value);
    } else {
      return Misplaced(absl::StrCat("the number ", value));
    }
    return true;
  }

  bool null() override { return Misplaced("null"); }
  bool boolean(bool) override { return Misplaced("true or false"); }
  bool number_integer(int64_t) override { return Misplaced("a negative number"); }
  bool number_float(double, const std::string&) override { return Misplaced("a fraction"); }
  bool binary(nlohmann::json::binary_t&) override { return Misplaced("bytes"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    if (error_.empty()) error_ = absl::StrCat("the header is not JSON at its byte ", position);
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets };

  bool Enter(Place place) {
    place_ = place;
    return true;
  }
  bool Misplaced(absl::string_view what) { return Fail(absl::StrCat("cannot be ", what)); }
  bool Fail(absl::string_view what) {
    const bool in_tensor =
        place_ != Place::kStart && place_ != Place::kTop && place_ != Place::kMetadata;
    error_ = in_tensor ? absl::StrCat("tensor '", header_.tensors.back().name, "': ") : "";
    absl::StrAppend(&error_, place_ == Place::kStart ? "the header" : absl::StrCat("'", key_, "'"),
                    " ", what);
    return false;
  }

  Header header_;
  Place place_ = Place::kStart;
  std::string key_;                // the newest
  std::set<std::string> names_;    // of tensors
  std::set<std::string> fields_;   // of the newest tensor
  std::vector<uint64_t> offsets_;  // of the newest tensor
  std::string error_;
};

absl::StatusOr<uint64_t> BytesOf(const TensorEntry& tensor) {
  if (tensor.dtype == "F32") return 4;
  if (tensor.dtype == "F16" || tensor.dtype == "BF16") return 2;
  if (tensor.dtype == "F64") return 8;
  return TensorError(
      tensor.name, absl::StrCat("found dtype '", tensor.dtype, "', allowed: F32, F16, BF16, F64"));
}

// That the range has the right length; `data_bytes` bounds it.
absl::Status CheckLength(const TensorEntry& tensor, uint64_t data_bytes) {
  TRIB_ASSIGN_OR_RETURN(uint64_t bytes, BytesOf(tensor));
  const bool none = std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0;
  for (const int64_t dimension : tensor.shape) {
    if (none) break;
    if (bytes > data_bytes / static_cast<uint64_t>(dimension)) {
      return TensorError(tensor.name, "the shape has more data than the file");
    }
    bytes *= static_cast<uint64_t>(dimension);
  }
  if (none) bytes = 0;
  if (tensor.end - tensor.begin != bytes) {
    return TensorError(tensor.name, absl::StrCat("the shape takes ", bytes, " bytes, found ",
                                                 tensor.end - tensor.begin));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Header> ParseHeader(absl::string_view json, uint64_t data_bytes) {
  Reader reader;
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  TRIB_ASSIGN_OR_RETURN(Header header, std::move(reader).Take());
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const TensorEntry& a, const TensorEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  uint64_t expected = 0;
  for (const TensorEntry& tensor : header.tensors) {
    if (tensor.begin != expected || tensor.end < tensor.begin || tensor.end > data_bytes) {
      return TensorError(tensor.name,
                         absl::StrCat("data_offsets [", tensor.begin, ", ", tensor.end,
                                      "]: must begin at ", expected, " and end by ", data_bytes));
    }
    TRIB_RETURN_IF_ERROR(CheckLength(tensor, data_bytes));
    expected = tensor.end;
  }
  if (expected != data_bytes) {
    return Error(
        absl::StrCat("the tensors cover ", expected, " bytes of data, found ", data_bytes));
  }
  return header;
}

}  // namespace tributary::safetensors
