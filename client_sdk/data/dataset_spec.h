// DatasetSpec: the `data:` section of a simulation and the --data flag of tributary-client.
// docs/data.md shows every form.
//
//   data: {dataset: fashion_mnist, partition: {dirichlet: {alpha: 0.3}}, train_examples: 20000}
#ifndef TRIBUTARY_CLIENT_SDK_DATA_DATASET_SPEC_H_
#define TRIBUTARY_CLIENT_SDK_DATA_DATASET_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/schema.h"

namespace tributary {

struct NormalizeOptions {
  double mean = 0.0;
  double stddev = 1.0;  // the key `std`
  static void Describe(config::Fields<NormalizeOptions>& fields);
};

// One flat set of keys; which of them a dataset takes, Validate says.
struct DatasetSpec {
  std::string dataset;  // fashion_mnist | mnist | csv | npy | text | synthetic
  config::Choice partition = DefaultPartition();  // client_sdk/data/partition.h; iid
  std::optional<int64_t> train_examples;          // keep so many; absent: all
  std::optional<int64_t> test_examples;
  int64_t seed = 1;  // of the subsets, a random test split and synthetic data
  std::optional<NormalizeOptions> normalize;
  std::optional<config::Choice>
      scenario;  // client_sdk/data/task_data.h; absent: every task is all of it

  // fashion_mnist, mnist: a folder of idx files. csv: a file. npy: the features' file. text: a file
  // or a folder.
  std::optional<std::string> path;
  std::optional<std::string> test_path;  // csv, npy, text
  // csv, npy: instead, a random part of `path`; text: the last part of each owner's text
  std::optional<double> test_fraction;
  std::optional<int64_t> classes;  // csv, npy: labels are integers in [0, classes); synthetic

  std::optional<std::string> label;    // csv: the label's column
  std::optional<std::string> client;   // csv: the column of the natural owner
  std::vector<std::string> features;   // csv: columns; empty: all the others
  std::optional<std::string> missing;  // csv: error | zero | drop

  std::optional<std::string> labels_path;       // npy
  std::optional<std::string> test_labels_path;  // npy

  std::optional<std::string> tokens;  // text: bytes | characters | sentencepiece
  std::optional<std::string> model;   // text: the .model file of sentencepiece
  std::optional<int64_t> context;     // text: tokens that an example predicts from
  std::optional<std::string> owner;   // text: file | speaker

  std::optional<int64_t> dimensions;       // synthetic: features of an example
  std::optional<double> separation;        // synthetic: distance scale of the class centres
  std::optional<double> noise;             // synthetic: standard deviation around a centre
  std::optional<int64_t> natural_clients;  // synthetic: owners
  std::optional<double> client_shift;      // synthetic: standard deviation of an owner's shift

  static config::Choice DefaultPartition();
  static void Describe(config::Fields<DatasetSpec>& fields);
  // A key that the dataset does not take, a key that it needs, or two that contradict.
  absl::Status Validate() const;
};

// A flag's text: a bare name, `fashion_mnist`, or a YAML flow mapping,
// `{dataset: csv, path: a.csv, label: y}`. The name `field` stands in error messages.
absl::StatusOr<DatasetSpec> ParseDataFlag(absl::string_view text, absl::string_view field = "data");

// `dirichlet:alpha=0.3,clients=5,index=2,seed=1`: client `index` of a partition into `clients`.
// Keys other than clients, index and seed are the partitioner's options.
struct PartitionFlag {
  config::Choice partition;
  int64_t clients = 1;
  int64_t index = 0;  // in [0, clients)
  int64_t seed = 1;   // as simulation.seed: equal seeds, equal partitions

  static void Describe(config::Fields<PartitionFlag>& fields);
  absl::Status Validate() const;  // index < clients
};
absl::StatusOr<PartitionFlag> ParsePartitionFlag(absl::string_view text,
                                                 absl::string_view field = "partition");

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_DATASET_SPEC_H_
