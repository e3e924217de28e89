#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/data/readers.h"
#include "common/rng.h"

namespace tributary {
namespace {

absl::Status Check(const SyntheticOptions& options) {
  const int64_t least = std::min({options.classes, options.dimensions, options.train_examples,
                                  options.test_examples, options.natural_clients + 1});
  if (least < 1) {
    return absl::InvalidArgumentError("synthetic: every count must be at least 1");
  }
  const double values = static_cast<double>(options.train_examples + options.test_examples +
                                            options.classes + options.natural_clients) *
                        static_cast<double>(options.dimensions);
  if (values * sizeof(float) > static_cast<double>(kMaxDatasetBytes)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("synthetic: ", values, " values are more than ", kMaxDatasetBytes, " bytes"));
  }
  return absl::OkStatus();
}

using Vectors = std::vector<std::vector<float>>;

Vectors NormalVectors(int64_t count, int64_t dimensions, Rng rng) {
  Vectors vectors(static_cast<size_t>(count), std::vector<float>(static_cast<size_t>(dimensions)));
  for (auto& vector : vectors) {
    for (float& value : vector) value = static_cast<float>(rng.Normal());
  }
  return vectors;
}

Vectors Centres(const SyntheticOptions& options, Rng rng) {
  Vectors centres = NormalVectors(options.classes, options.dimensions, rng);
  for (auto& centre : centres) {
    double square = 0;
    for (const float value : centre) square += static_cast<double>(value) * value;
    const auto scale = static_cast<float>(options.separation / std::sqrt(square));
    for (float& value : centre) value *= scale;
  }
  return centres;
}

Dataset Draw(const SyntheticOptions& options, int64_t examples, const Vectors& centres,
             const Vectors& shifts, Rng rng) {
  Dataset data;
  data.example_shape = {options.dimensions};
  data.num_classes = options.classes;
  data.num_clients = static_cast<int32_t>(options.natural_clients);
  data.features.reserve(static_cast<size_t>(examples * options.dimensions));
  for (int64_t i = 0; i < examples; ++i) {
    const int64_t label = i % options.classes;
    data.labels.push_back(label);
    const auto& centre = centres[static_cast<size_t>(label)];
    const std::vector<float>* shift = nullptr;
    if (options.natural_clients > 0) {
      data.client_ids.push_back(static_cast<int32_t>(rng.UniformInt(options.natural_clients)));
      shift = &shifts[static_cast<size_t>(data.client_ids.back())];
    }
    for (size_t d = 0; d < centre.size(); ++d) {
      double value = centre[d] + rng.Normal(0.0, options.noise);
      if (shift != nullptr) value += options.client_shift * (*shift)[d];
      data.features.push_back(static_cast<float>(value));
    }
  }
  return data;
}

}  // namespace

absl::StatusOr<LoadedData> MakeSynthetic(const SyntheticOptions& options, uint64_t seed) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  const Rng rng = Rng(seed).Split("synthetic");
  const Vectors centres = Centres(options, rng.Split("centres"));
  const Vectors shifts =
      NormalVectors(options.natural_clients, options.dimensions, rng.Split("shifts"));
  const auto draw = [&](int64_t examples, absl::string_view split) {
    return std::make_shared<const Dataset>(
        Draw(options, examples, centres, shifts, rng.Split(split)));
  };
  return LoadedData{draw(options.train_examples, "train"), draw(options.test_examples, "test")};
}

}  // namespace tributary
