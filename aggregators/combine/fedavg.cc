#include "aggregators/combine/fedavg.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little, "Serialize copies memory as it is");

constexpr absl::string_view kMagic = "TFA2";

template <typename T>
void Append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// The caller has checked that there is enough.
template <typename T>
T Take(absl::string_view& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FedAvgAggregator>> FedAvgAggregator::Create(
    const Options& options, const AggregatorDeps& deps) {
  TRIB_ASSIGN_OR_RETURN(UpdateWeights weights,
                        UpdateWeights::Create(options, deps.given_coefficients));
  return std::unique_ptr<FedAvgAggregator>(new FedAvgAggregator(std::move(weights), deps));
}

FedAvgAggregator::FedAvgAggregator(UpdateWeights weights, const AggregatorDeps& deps)
    : weights_(std::move(weights)),
      layout_(deps.layout),
      parallel_(deps.parallel),
      squared_norms_(deps.squared_norms) {
  if (layout_ == nullptr) return;
  sum_.delta = ParamVector::Uninitialized(layout_);
  const absl::Span<float> sums = sum_.delta.values();
  ForRanges(parallel_, std::ssize(sums), [sums](CoordinateRange range) {
    std::fill(sums.begin() + range.begin, sums.begin() + range.end, 0.0F);
  });
}

uint8_t FedAvgAggregator::WeightsTag() const {
  return weights_.given() ? 2 : weights_.by_examples() ? 0 : 1;
}

absl::Status FedAvgAggregator::Accumulate(const Update& update, const Contribution& about) {
  TRIB_CHECK(update.delta != nullptr);
  const UpdateInfo& info = update.info;
  TRIB_ASSIGN_OR_RETURN(const double weight, weights_.Of(info, about));
  const absl::Span<float> buffers = sum_.delta.buffers();
  if (update.buffers.size() != buffers.size()) {
    return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(), ": has ",
                                                   update.buffers.size(), " buffer values; the ",
                                                   "layout has ", buffers.size()));
  }
  const auto factor = static_cast<float>(weight);
  const absl::Span<float> trainable = sum_.delta.trainable();
  ForRanges(parallel_, layout_->trainable_size(), [&](CoordinateRange range) {
    update.delta->AddTo(
        factor, range,
        trainable.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
  });
  AddScaled(weights_.given() ? 1.0F : factor, update.buffers, buffers);
  if (squared_norms_) {
    sum_.squared_norms += weight * SquaredNorm(*update.delta, layout_->trainable_size(), parallel_);
  }
  sum_.updates += 1;
  sum_.num_examples += info.num_examples;
  sum_.weight += weight;
  return absl::OkStatus();
}

absl::Status FedAvgAggregator::MergeFrom(const Aggregator& other) {
  const auto* from = dynamic_cast<const FedAvgAggregator*>(&other);
  if (from == nullptr || from->WeightsTag() != WeightsTag()) {
    return absl::InvalidArgumentError(
        "merge: the other aggregator is not fedavg with these weights");
  }
  if (from->layout_->digest() != layout_->digest()) {
    return absl::InvalidArgumentError("merge: the other aggregator has another layout");
  }
  AddScaled(1.0F, from->sum_.delta.values(), sum_.delta.values());
  sum_.updates += from->sum_.updates;
  sum_.num_examples += from->sum_.num_examples;
  sum_.weight += from->sum_.weight;
  sum_.squared_norms += from->sum_.squared_norms;
  return absl::OkStatus();
}

std::string FedAvgAggregator::Serialize() const {
  const absl::Span<const float> values = sum_.delta.values();
  std::string bytes(kMagic.data(), kMagic.size());
  Append<uint8_t>(bytes, WeightsTag());
  bytes += layout_->digest().ToBytes();
  Append<int64_t>(bytes, sum_.updates);
  Append<int64_t>(bytes, sum_.num_examples);
  Append<double>(bytes, sum_.weight);
  Append<double>(bytes, sum_.squared_norms);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return bytes;
}

absl::Status FedAvgAggregator::Restore(absl::string_view state) {
  const auto lost = [](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("saved fedavg state: ", what));
  };
  std::string header(kMagic.data(), kMagic.size());
  Append<uint8_t>(header, WeightsTag());
  header += layout_->digest().ToBytes();
  const absl::Span<float> values = sum_.delta.values();
  const size_t size =
      header.size() + 2 * sizeof(int64_t) + 2 * sizeof(double) + values.size() * sizeof(float);
  if (state.size() != size) {
    return lost(absl::StrCat("has ", state.size(), " bytes instead of ", size));
  }
  if (state.substr(0, header.size()) != header) {
    return lost("is of another version, of other weights or of another layout");
  }
  state.remove_prefix(header.size());
  const auto updates = Take<int64_t>(state);
  const auto num_examples = Take<int64_t>(state);
  const auto weight = Take<double>(state);
  const auto squared_norms = Take<double>(state);
  const bool weighed = updates == 0 ? weight == 0 : weights_.given() ? weight >= 0 : weight > 0;
  if (updates < 0 || num_examples < updates || !weighed || !std::isfinite(weight) ||
      !std::isfinite(squared_norms) || squared_norms < 0) {
    return lost("its counts contradict one another");
  }
  sum_.updates = updates;
  sum_.num_examples = num_examples;
  sum_.weight = weight;
  sum_.squared_norms = squared_norms;
  if (!values.empty()) std::memcpy(values.data(), state.data(), state.size());
  return absl::OkStatus();
}

void FedAvgAggregator::Divide(absl::Span<float> values, double by) const {
  const auto divisor = static_cast<float>(by);
  ForRanges(parallel_, static_cast<int64_t>(values.size()), [&](CoordinateRange range) {
    for (int64_t i = range.begin; i < range.end; ++i) values[static_cast<size_t>(i)] /= divisor;
  });
}

absl::StatusOr<Aggregate> FedAvgAggregator::Finish() && {
  if (sum_.updates == 0) {
    return absl::FailedPreconditionError("no update was accumulated, so there is no mean");
  }
  const bool given = weights_.given();
  if (!given) {
    Divide(sum_.delta.trainable(), sum_.weight);
    sum_.squared_norms /= sum_.weight;
  }
  Divide(sum_.delta.buffers(), given ? static_cast<double>(sum_.updates) : sum_.weight);
  return std::move(sum_);
}

}  // namespace tributary
