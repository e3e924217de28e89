#include "client_sdk/data/dataset.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

template <typename T>
void GatherRows(const std::vector<T>& values, int64_t width, float scale, float shift,
                absl::Span<const int32_t> indices, float* out) {
  for (const int32_t index : indices) {
    const T* row = values.data() + index * width;
    for (int64_t i = 0; i < width; ++i) out[i] = static_cast<float>(row[i]) * scale + shift;
    out += width;
  }
}

template <typename T>
std::vector<T> SubsetRows(const std::vector<T>& values, int64_t width,
                          absl::Span<const int32_t> indices) {
  std::vector<T> out;
  if (values.empty()) return out;
  out.reserve(indices.size() * static_cast<size_t>(width));
  for (const int32_t index : indices) {
    const auto row = values.begin() + index * width;
    out.insert(out.end(), row, row + width);
  }
  return out;
}

}  // namespace

int64_t Dataset::example_size() const {
  return std::accumulate(example_shape.begin(), example_shape.end(), int64_t{1},
                         std::multiplies<>());
}

absl::Status Dataset::ValidateInputs() const {
  if ((pixels.empty() ? 0 : 1) + (features.empty() ? 0 : 1) + (tokens.empty() ? 0 : 1) !=
      (size() > 0 ? 1 : 0)) {
    return absl::InvalidArgumentError("a dataset has either pixels or features, or tokens");
  }
  if (has_tokens()) {
    if (!labels.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          labels.size(), " labels beside tokens; the label of a token is the one after it"));
    }
    if (static_cast<int64_t>(tokens.size()) % (example_size() + 1) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(tokens.size(), " tokens; expected a multiple ",
                                                     "of the ", example_size() + 1, " an example"));
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= 0 && tokens[i] < num_classes) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("example ", static_cast<int64_t>(i) / (example_size() + 1), ": token ",
                       tokens[i], " is out of range [0, ", num_classes, ")"));
    }
    return absl::OkStatus();
  }
  const auto values = static_cast<int64_t>(std::max(pixels.size(), features.size()));
  if (values % example_size() != 0 || values / example_size() != size()) {
    return absl::InvalidArgumentError(absl::StrCat(values, " input values for ", size(),
                                                   " labels; expected ", example_size(),
                                                   " values an example"));
  }
  return absl::OkStatus();
}

absl::Status Dataset::Validate() const {
  const bool positive = std::all_of(example_shape.begin(), example_shape.end(),
                                    [](int64_t dimension) { return dimension >= 1; });
  if (example_shape.empty() || !positive) {
    return absl::InvalidArgumentError("example_shape must have one or more positive dimensions");
  }
  if (size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a dataset of ", size(), " examples; allowed: up to 2147483647"));
  }
  TRIB_RETURN_IF_ERROR(ValidateInputs());
  if (!(stddev > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("stddev must be positive, found ", stddev));
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= num_classes) {
      return absl::InvalidArgumentError(absl::StrCat("example ", i, ": label ", labels[i],
                                                     " is out of range [0, ", num_classes, ")"));
    }
  }
  if (!client_ids.empty() && std::ssize(client_ids) != size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(client_ids.size(), " client ids for ", size(), " examples"));
  }
  if (!client_names.empty() && std::ssize(client_names) != num_clients) {
    return absl::InvalidArgumentError(
        absl::StrCat(client_names.size(), " client names for ", num_clients, " clients"));
  }
  for (size_t i = 0; i < client_ids.size(); ++i) {
    if (client_ids[i] < 0 || client_ids[i] >= num_clients) {
      return absl::InvalidArgumentError(absl::StrCat("example ", i, ": client ", client_ids[i],
                                                     " is out of range [0, ", num_clients, ")"));
    }
  }
  return absl::OkStatus();
}

void Dataset::Gather(absl::Span<const int32_t> indices, float* inputs, int64_t* targets) const {
  const float scale = 1.0f / stddev;
  const float shift = -mean / stddev;
  if (!pixels.empty()) {
    GatherRows(pixels, example_size(), scale / 255.0f, shift, indices, inputs);
  } else {
    GatherRows(features, example_size(), scale, shift, indices, inputs);
  }
  for (const int32_t index : indices) *targets++ = labels[static_cast<size_t>(index)];
}

void Dataset::GatherTokens(absl::Span<const int32_t> indices, int64_t* inputs,
                           int64_t* targets) const {
  const int64_t width = example_size();
  for (const int32_t index : indices) {
    const auto window = tokens.begin() + index * (width + 1);
    inputs = std::copy(window, window + width, inputs);
    targets = std::copy(window + 1, window + width + 1, targets);
  }
}

Dataset Dataset::Subset(absl::Span<const int32_t> indices) const {
  Dataset subset;
  subset.example_shape = example_shape;
  subset.num_classes = num_classes;
  subset.pixels = SubsetRows(pixels, example_size(), indices);
  subset.features = SubsetRows(features, example_size(), indices);
  subset.tokens = SubsetRows(tokens, example_size() + 1, indices);
  subset.mean = mean;
  subset.stddev = stddev;
  subset.labels = SubsetRows(labels, 1, indices);
  subset.client_ids = SubsetRows(client_ids, 1, indices);
  subset.num_clients = num_clients;
  subset.client_names = client_names;
  subset.head = head;
  return subset;
}

DataView DataView::All(std::shared_ptr<const Dataset> dataset) {
  std::vector<int32_t> indices(static_cast<size_t>(dataset->size()));
  std::iota(indices.begin(), indices.end(), 0);
  return {std::move(dataset), std::move(indices)};
}

}  // namespace tributary
