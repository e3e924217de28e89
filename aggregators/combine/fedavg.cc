#include "aggregators/combine/fedavg.h"

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

// More is a client's mistake, or its wish to outweigh everyone.
constexpr int64_t kMaxExamples = int64_t{1} << 40;

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

void FedAvgOptions::Describe(config::Fields<FedAvgOptions>& fields) {
  fields
      .Add("weights", &FedAvgOptions::weights,
           "an update's weight: its number of examples, or the same for all")
      .OneOf({"examples", "uniform"});
  fields
      .Add("staleness", &FedAvgOptions::staleness,
           "factor on the weight of an update that is versions behind")
      .Alternatives(StalenessRegistry().Alternatives());
}

absl::StatusOr<std::unique_ptr<FedAvgAggregator>> FedAvgAggregator::Create(
    const Options& options, const AggregatorDeps& deps) {
  TRIB_ASSIGN_OR_RETURN(auto staleness, StalenessRegistry().Create(options.staleness));
  const Weights weights = deps.given_coefficients         ? Weights::kGiven
                          : options.weights == "examples" ? Weights::kExamples
                                                          : Weights::kUniform;
  return std::unique_ptr<FedAvgAggregator>(
      new FedAvgAggregator(weights, std::move(staleness), deps));
}

FedAvgAggregator::FedAvgAggregator(Weights weights, std::unique_ptr<StalenessFunction> staleness,
                                   const AggregatorDeps& deps)
    : weights_(weights),
      staleness_(std::move(staleness)),
      layout_(deps.layout),
      parallel_(deps.parallel),
      squared_norms_(deps.squared_norms) {
  if (layout_ != nullptr) sum_.delta = ParamVector(layout_);
}

double FedAvgAggregator::WeightOf(const UpdateInfo& info, const Contribution& about) const {
  if (weights_ == Weights::kGiven) return about.coefficient;
  const double own = weights_ == Weights::kExamples ? static_cast<double>(info.num_examples) : 1.0;
  return own * staleness_->At(about.staleness);
}

absl::Status FedAvgAggregator::Accumulate(const Update& update, const Contribution& about) {
  TRIB_CHECK(update.delta != nullptr);
  const UpdateInfo& info = update.info;
  if (info.num_examples < 1 || info.num_examples > kMaxExamples) {
    return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(),
                                                   ": num_examples is ", info.num_examples,
                                                   "; allowed are 1 to ", kMaxExamples));
  }
  const absl::Span<float> buffers = sum_.delta.buffers();
  if (update.buffers.size() != buffers.size()) {
    return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(), ": has ",
                                                   update.buffers.size(), " buffer values; the ",
                                                   "layout has ", buffers.size()));
  }
  const double weight = WeightOf(info, about);
  if (!std::isfinite(weight) || weight < 0) {
    return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(),
                                                   ": its coefficient is ", weight,
                                                   "; allowed are finite numbers from 0"));
  }
  const auto factor = static_cast<float>(weight);
  const absl::Span<float> trainable = sum_.delta.trainable();
  ForRanges(parallel_, layout_->trainable_size(), [&](CoordinateRange range) {
    update.delta->AddTo(
        factor, range,
        trainable.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
  });
  AddScaled(weights_ == Weights::kGiven ? 1.0F : factor, update.buffers, buffers);
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
  if (from == nullptr || from->weights_ != weights_) {
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
  Append<uint8_t>(bytes, static_cast<uint8_t>(weights_));
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
  Append<uint8_t>(header, static_cast<uint8_t>(weights_));
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
  const bool weighed = updates == 0                  ? weight == 0
                       : weights_ == Weights::kGiven ? weight >= 0
                                                     : weight > 0;
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
  const bool given = weights_ == Weights::kGiven;
  if (!given) {
    Divide(sum_.delta.trainable(), sum_.weight);
    sum_.squared_norms /= sum_.weight;
  }
  Divide(sum_.delta.buffers(), given ? static_cast<double>(sum_.updates) : sum_.weight);
  return std::move(sum_);
}

}  // namespace tributary
