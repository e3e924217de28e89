#include "common/params/param_layout.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

constexpr int kJsonVersion = 1;

bool IsUtf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

absl::Status CheckName(const std::string& name) {
  if (name.empty()) return absl::InvalidArgumentError("a tensor has an empty name");
  if (!IsUtf8(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", absl::CHexEscape(name), "': the name is not UTF-8"));
  }
  if (name == "__metadata__") {
    return absl::InvalidArgumentError("tensor '__metadata__': the name is reserved");
  }
  return absl::OkStatus();
}

// The number of elements, at most kMaxSize.
absl::StatusOr<int64_t> SizeOf(const ParamLayout::Tensor& tensor) {
  int64_t size = 1;
  bool too_large = false;
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", tensor.name, "': a dimension must be at least 0, found ", dimension));
    }
    if (dimension == 0) return 0;
    too_large = too_large || size > ParamLayout::kMaxSize / dimension;
    if (!too_large) size *= dimension;
  }
  if (too_large) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensor.name, "': more than ", ParamLayout::kMaxSize, " elements"));
  }
  return size;
}

void AppendUint64(std::string& bytes, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
}

Digest DigestOf(const std::vector<ParamLayout::Tensor>& tensors) {
  std::string bytes = "tributary.layout.v1";
  AppendUint64(bytes, tensors.size());
  for (const ParamLayout::Tensor& tensor : tensors) {
    bytes.push_back(static_cast<char>(tensor.kind));
    AppendUint64(bytes, tensor.name.size());
    bytes += tensor.name;
    AppendUint64(bytes, tensor.shape.size());
    for (const int64_t dimension : tensor.shape) {
      AppendUint64(bytes, static_cast<uint64_t>(dimension));
    }
  }
  return Sha256::Of(bytes);
}

absl::StatusOr<ParamLayout::Tensor> TensorFromJson(const nlohmann::json& json) {
  const auto bad = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("a layout's tensor: ", what));
  };
  if (!json.is_object()) return bad("not an object");
  const auto name = json.find("name");
  const auto shape = json.find("shape");
  const auto buffer = json.find("buffer");
  if (name == json.end() || !name->is_string()) return bad("'name' must be a string");
  if (shape == json.end() || !shape->is_array()) return bad("'shape' must be a list");
  if (buffer != json.end() && !buffer->is_boolean()) return bad("'buffer' must be true or false");
  ParamLayout::Tensor tensor{.name = name->get<std::string>()};
  for (const nlohmann::json& dimension : *shape) {
    if (!dimension.is_number_integer()) return bad("'shape' must hold integers");
    tensor.shape.push_back(dimension.get<int64_t>());
  }
  if (buffer != json.end() && buffer->get<bool>()) tensor.kind = TensorKind::kBuffer;
  return tensor;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ParamLayout>> ParamLayout::Create(
    std::vector<Tensor> tensors) {
  if (tensors.empty()) return absl::InvalidArgumentError("a layout needs at least one tensor");
  std::stable_partition(tensors.begin(), tensors.end(),
                        [](const Tensor& t) { return t.kind == TensorKind::kTrainable; });
  auto layout = std::shared_ptr<ParamLayout>(new ParamLayout());
  for (Tensor& tensor : tensors) {
    TRIB_RETURN_IF_ERROR(CheckName(tensor.name));
    TRIB_ASSIGN_OR_RETURN(tensor.size, SizeOf(tensor));
    tensor.offset = layout->size_;
    layout->size_ += tensor.size;
    if (layout->size_ > kMaxSize) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", tensor.name, "': with it the layout has more than ", kMaxSize, " elements"));
    }
    if (tensor.kind == TensorKind::kTrainable) layout->trainable_size_ = layout->size_;
  }
  std::vector<size_t>& by_name = layout->by_name_;
  by_name.resize(tensors.size());
  std::iota(by_name.begin(), by_name.end(), size_t{0});
  std::sort(by_name.begin(), by_name.end(),
            [&](size_t a, size_t b) { return tensors[a].name < tensors[b].name; });
  const auto repeated = std::adjacent_find(by_name.begin(), by_name.end(), [&](size_t a, size_t b) {
    return tensors[a].name == tensors[b].name;
  });
  if (repeated != by_name.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensors[*repeated].name, "': the name is repeated"));
  }
  layout->digest_ = DigestOf(tensors);
  layout->tensors_ = std::move(tensors);
  return layout;
}

const ParamLayout::Tensor* ParamLayout::Find(absl::string_view name) const {
  const auto found = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](size_t i, absl::string_view wanted) { return tensors_[i].name < wanted; });
  if (found == by_name_.end() || tensors_[*found].name != name) return nullptr;
  return &tensors_[*found];
}

std::string ParamLayout::ToJson() const {
  nlohmann::json tensors = nlohmann::json::array();
  for (const Tensor& tensor : tensors_) {
    nlohmann::json json = {{"name", tensor.name}, {"shape", tensor.shape}};
    if (tensor.kind == TensorKind::kBuffer) json["buffer"] = true;
    tensors.push_back(std::move(json));
  }
  return nlohmann::json{{"layout", kJsonVersion}, {"tensors", std::move(tensors)}}.dump();
}

absl::StatusOr<std::shared_ptr<const ParamLayout>> ParamLayout::FromJson(absl::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                                                    /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("a layout must be a JSON object");
  const auto version = json.find("layout");
  if (version == json.end() || *version != kJsonVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("a layout's 'layout' (its version) must be ", kJsonVersion));
  }
  const auto list = json.find("tensors");
  if (list == json.end() || !list->is_array()) {
    return absl::InvalidArgumentError("a layout's 'tensors' must be a list");
  }
  std::vector<Tensor> tensors;
  for (const nlohmann::json& item : *list) {
    TRIB_ASSIGN_OR_RETURN(Tensor tensor, TensorFromJson(item));
    tensors.push_back(std::move(tensor));
  }
  return Create(std::move(tensors));
}

}  // namespace tributary
