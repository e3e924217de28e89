// Readers: files, or a generator, -> Dataset. docs/data.md describes the formats.
//
// Every reader takes untrusted files: sizes are bounded (kMaxDatasetBytes) and checked
// before anything is allocated, and an error names the file, the row or field, what was
// found and what was expected. Codes: NotFound (no such file), InvalidArgument (bad
// content or option), ResourceExhausted (too large).
#ifndef TRIBUTARY_CLIENT_SDK_DATA_READERS_H_
#define TRIBUTARY_CLIENT_SDK_DATA_READERS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client_sdk/data/dataset.h"
#include "client_sdk/data/dataset_spec.h"
#include "client_sdk/data/tokenizer.h"

namespace tributary {

inline constexpr int64_t kMaxDatasetBytes = int64_t{4} << 30;

struct LoadedData {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> test;  // held out; never empty
};

// Reads what `spec` says, normalises as it says, and keeps train_examples and test_examples
// (the first so many after a shuffle by spec.seed). The same spec gives the same data, bit
// for bit.
absl::StatusOr<LoadedData> LoadDataset(const DatasetSpec& spec);

// The tokens of `spec`'s text, as LoadDataset makes them. InvalidArgument: its dataset is another.
absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerOf(const DatasetSpec& spec);

// A pair of idx files (LeCun's MNIST format), plain or gzip, as images {1, rows, columns}.
absl::StatusOr<Dataset> ReadIdx(const std::string& images_path, const std::string& labels_path,
                                int64_t num_classes);

enum class MissingValue { kError, kZero, kDrop };

struct CsvOptions {
  std::string label;
  std::optional<std::string> client;
  std::vector<std::string> features;  // empty: every column but label and client
  std::optional<int64_t> num_classes;
  MissingValue missing = MissingValue::kError;
};

// What the numbers in a CSV dataset stand for: label_names[l], client_names[c].
struct CsvNames {
  std::vector<std::string> labels;
  std::vector<std::string> clients;
  std::vector<std::string> features;
};

// RFC 4180 with a header row. Without num_classes, the distinct labels in sorted order (as
// numbers if all are integers) become 0, 1, …; clients likewise. A second file (the test
// set) is read with the `names` of the first, and a label that they lack is an error.
absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options,
                                CsvNames* names = nullptr);
absl::StatusOr<Dataset> ReadCsvWithNames(const std::string& path, const CsvOptions& options,
                                         const CsvNames& names);

// NumPy's .npy, versions 1 to 3, C order, little-endian f4, f8, u1, i4 or i8. Features
// [n, …] of u1 stay bytes; labels [n] are integers. Without num_classes it is the largest
// label + 1.
absl::StatusOr<Dataset> ReadNpy(const std::string& features_path, const std::string& labels_path,
                                std::optional<int64_t> num_classes);

struct SyntheticOptions {
  int64_t classes = 10;
  int64_t dimensions = 20;
  int64_t train_examples = 2000;
  int64_t test_examples = 500;
  double separation = 3.0;
  double noise = 1.0;
  int64_t natural_clients = 0;  // 0: no owners
  double client_shift = 0.0;
};

// Gaussian blobs: a class has a centre, separation · a random unit vector; an example is
// centre + its owner's shift (client_shift · N(0, I)) + noise · N(0, I). Classes are balanced,
// owners drawn uniformly. InvalidArgument: a count out of range.
absl::StatusOr<LoadedData> MakeSynthetic(const SyntheticOptions& options, uint64_t seed);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_READERS_H_
