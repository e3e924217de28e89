#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/readers.h"
#include "client_sdk/data/text_reader.h"
#include "common/rng.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

struct Split {
  Dataset train;
  Dataset test;
};

std::vector<int32_t> ShuffledIndices(int64_t size, Rng rng) {
  std::vector<int32_t> indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  rng.Shuffle(absl::MakeSpan(indices));
  return indices;
}

// A random `fraction` of `all`, at least one example of each side, becomes the test set.
absl::StatusOr<Split> SplitAtRandom(Dataset all, double fraction, const Rng& rng) {
  if (all.size() < 2) {
    return absl::InvalidArgumentError("test_fraction: one example cannot be split in two");
  }
  const auto wanted = static_cast<int64_t>(fraction * static_cast<double>(all.size()));
  const int64_t tests = std::clamp<int64_t>(wanted, 1, all.size() - 1);
  const std::vector<int32_t> order = ShuffledIndices(all.size(), rng.Split("test_fraction"));
  const absl::Span<const int32_t> indices(order);
  return Split{all.Subset(indices.subspan(static_cast<size_t>(tests))),
               all.Subset(indices.first(static_cast<size_t>(tests)))};
}

absl::StatusOr<Dataset> ReadIdxPair(const std::string& folder, const std::string& prefix) {
  const auto find = [&](const std::string& name) {
    const std::filesystem::path plain = std::filesystem::path(folder) / (prefix + name);
    std::error_code error;
    return std::filesystem::exists(plain, error) ? plain.string() : plain.string() + ".gz";
  };
  return ReadIdx(find("-images-idx3-ubyte"), find("-labels-idx1-ubyte"), 10);
}

absl::StatusOr<Split> LoadIdx(const DatasetSpec& spec) {
  // Where Debian's package dataset-fashion-mnist puts its files, and a place like it.
  const std::string usual = spec.dataset == "fashion_mnist" ? "/usr/share/datasets/fashion-mnist"
                                                            : "/usr/share/datasets/mnist";
  const std::string folder = spec.path.value_or(usual);
  Split split;
  TRIB_ASSIGN_OR_RETURN(split.train, ReadIdxPair(folder, "train"));
  TRIB_ASSIGN_OR_RETURN(split.test, ReadIdxPair(folder, "t10k"));
  return split;
}

absl::StatusOr<Split> LoadCsv(const DatasetSpec& spec, const Rng& rng) {
  CsvOptions options;
  options.label = *spec.label;
  options.client = spec.client;
  options.features = spec.features;
  options.num_classes = spec.classes;
  if (spec.missing == "zero") options.missing = MissingValue::kZero;
  if (spec.missing == "drop") options.missing = MissingValue::kDrop;
  CsvNames names;
  TRIB_ASSIGN_OR_RETURN(Dataset train, ReadCsv(*spec.path, options, &names));
  if (!spec.test_path) return SplitAtRandom(std::move(train), *spec.test_fraction, rng);
  TRIB_ASSIGN_OR_RETURN(Dataset test, ReadCsvWithNames(*spec.test_path, options, names));
  return Split{std::move(train), std::move(test)};
}

absl::StatusOr<Split> LoadNpy(const DatasetSpec& spec, const Rng& rng) {
  TRIB_ASSIGN_OR_RETURN(Dataset train, ReadNpy(*spec.path, *spec.labels_path, spec.classes));
  if (!spec.test_path) return SplitAtRandom(std::move(train), *spec.test_fraction, rng);
  TRIB_ASSIGN_OR_RETURN(Dataset test,
                        ReadNpy(*spec.test_path, *spec.test_labels_path, train.num_classes));
  return Split{std::move(train), std::move(test)};
}

TextOwner OwnerOf(const DatasetSpec& spec) {
  return spec.owner == "speaker" ? TextOwner::kSpeaker : TextOwner::kFile;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFor(const DatasetSpec& spec,
                                                        absl::Span<const OwnedText> texts) {
  if (spec.model) return ReadSentencePieceTokenizer(*spec.model);
  if (spec.tokens != "characters") return MakeByteTokenizer();
  std::vector<absl::string_view> views;
  for (const OwnedText& text : texts) views.push_back(text.text);
  return MakeCharacterTokenizer(views);
}

// The last `fraction` of each owner's windows becomes the test set; both sides have one at least.
absl::StatusOr<Split> SplitAtTheEnds(const Dataset& all, double fraction) {
  std::vector<int64_t> left(static_cast<size_t>(all.num_clients));  // of each owner, to train on
  for (const int32_t owner : all.client_ids) ++left[static_cast<size_t>(owner)];
  for (int64_t& count : left) {
    count -= std::llround(fraction * static_cast<double>(count));
  }
  std::vector<int32_t> train, test;
  for (size_t i = 0; i < all.client_ids.size(); ++i) {
    const bool trains = left[static_cast<size_t>(all.client_ids[i])]-- > 0;
    (trains ? train : test).push_back(static_cast<int32_t>(i));
  }
  if (train.empty() || test.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "test_fraction is ", fraction, "; of ", all.size(), " examples that leaves none to ",
        train.empty() ? "train on" : "test on", "; a shorter `context` makes more"));
  }
  return Split{all.Subset(train), all.Subset(test)};
}

// Gives the owners of test text the numbers that they have in training; where one of them has none,
// all of it is nobody's.
void MatchOwners(const Dataset& train, Dataset& test) {
  std::vector<int32_t> numbers;
  for (const std::string& name : test.client_names) {
    const auto found = absl::c_find(train.client_names, name);
    if (found == train.client_names.end()) {
      test.client_ids.clear();
      test.client_names.clear();
      test.num_clients = 0;
      return;
    }
    numbers.push_back(static_cast<int32_t>(found - train.client_names.begin()));
  }
  for (int32_t& id : test.client_ids) id = numbers[static_cast<size_t>(id)];
  test.client_names = train.client_names;
  test.num_clients = train.num_clients;
}

absl::StatusOr<Split> LoadText(const DatasetSpec& spec) {
  constexpr int64_t kContext = 128;
  const int64_t context = spec.context.value_or(kContext);
  const TextOwner owner = OwnerOf(spec);
  TRIB_ASSIGN_OR_RETURN(const std::vector<OwnedText> texts, ReadTexts(*spec.path, owner));
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, TokenizerFor(spec, texts));
  TRIB_ASSIGN_OR_RETURN(Dataset train, PackWindows(texts, *tokenizer, context));
  if (!spec.test_path) return SplitAtTheEnds(train, *spec.test_fraction);
  TRIB_ASSIGN_OR_RETURN(const std::vector<OwnedText> tests, ReadTexts(*spec.test_path, owner));
  TRIB_ASSIGN_OR_RETURN(Dataset test, PackWindows(tests, *tokenizer, context));
  MatchOwners(train, test);
  return Split{std::move(train), std::move(test)};
}

absl::StatusOr<LoadedData> LoadSynthetic(const DatasetSpec& spec) {
  SyntheticOptions options;
  options.classes = spec.classes.value_or(options.classes);
  options.dimensions = spec.dimensions.value_or(options.dimensions);
  options.train_examples = spec.train_examples.value_or(options.train_examples);
  options.test_examples = spec.test_examples.value_or(options.test_examples);
  options.separation = spec.separation.value_or(options.separation);
  options.noise = spec.noise.value_or(options.noise);
  options.natural_clients = spec.natural_clients.value_or(options.natural_clients);
  options.client_shift = spec.client_shift.value_or(options.client_shift);
  return MakeSynthetic(options, static_cast<uint64_t>(spec.seed));
}

absl::StatusOr<Dataset> Keep(Dataset all, std::optional<int64_t> count, absl::string_view key,
                             Rng rng) {
  if (!count || *count == all.size()) return all;
  if (*count > all.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " is ", *count, "; allowed: up to the ", all.size(), " there are"));
  }
  const std::vector<int32_t> order = ShuffledIndices(all.size(), std::move(rng));
  return all.Subset(absl::MakeConstSpan(order).first(static_cast<size_t>(*count)));
}

absl::StatusOr<LoadedData> Finish(Split split, const DatasetSpec& spec, const Rng& rng) {
  if (split.test.example_shape != split.train.example_shape) {
    return absl::InvalidArgumentError("the test set's examples have another shape than training's");
  }
  TRIB_ASSIGN_OR_RETURN(split.train, Keep(std::move(split.train), spec.train_examples,
                                          "train_examples", rng.Split("train_examples")));
  TRIB_ASSIGN_OR_RETURN(split.test, Keep(std::move(split.test), spec.test_examples, "test_examples",
                                         rng.Split("test_examples")));
  const NormalizeOptions normalize = spec.normalize.value_or(NormalizeOptions{});
  for (Dataset* data : {&split.train, &split.test}) {
    data->mean = static_cast<float>(normalize.mean);
    data->stddev = static_cast<float>(normalize.stddev);
  }
  return LoadedData{std::make_shared<const Dataset>(std::move(split.train)),
                    std::make_shared<const Dataset>(std::move(split.test))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerOf(const DatasetSpec& spec) {
  TRIB_RETURN_IF_ERROR(spec.Validate());
  if (spec.dataset != "text") {
    return absl::InvalidArgumentError(
        absl::StrCat("dataset is '", spec.dataset, "', which has no tokens; allowed: text"));
  }
  std::vector<OwnedText> texts;
  if (spec.tokens == "characters") {
    TRIB_ASSIGN_OR_RETURN(texts, ReadTexts(*spec.path, OwnerOf(spec)));
  }
  return TokenizerFor(spec, texts);
}

absl::StatusOr<LoadedData> LoadDataset(const DatasetSpec& spec) {
  TRIB_RETURN_IF_ERROR(spec.Validate());
  if (spec.dataset == "synthetic") return LoadSynthetic(spec);
  const Rng rng = Rng(static_cast<uint64_t>(spec.seed)).Split("data");
  absl::StatusOr<Split> split = spec.dataset == "csv"    ? LoadCsv(spec, rng)
                                : spec.dataset == "npy"  ? LoadNpy(spec, rng)
                                : spec.dataset == "text" ? LoadText(spec)
                                                         : LoadIdx(spec);
  if (absl::IsNotFound(split.status())) {
    return WithContext(split.status(), absl::StrCat("dataset '", spec.dataset,
                                                    "' is not there (`path` says where it is)"));
  }
  TRIB_RETURN_IF_ERROR(split.status());
  return Finish(*std::move(split), spec, rng);
}

}  // namespace tributary
