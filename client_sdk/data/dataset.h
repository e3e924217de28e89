// Dataset: labelled examples, or text as tokens, in compact form, and DataView: a part of one, by
// indices.
//
// Images stay as bytes (70,000 Fashion-MNIST images: 55 MB and not 220) and become
// normalised floats one batch at a time.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_DATASET_H_
#define TRIBUTARY_CLIENT_SDK_DATA_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace tributary {

// Shared as shared_ptr<const Dataset>, and then immutable and thread-safe.
//
// A value x of `features` is given out as (x − mean) / stddev, a value of `pixels` as
// (x / 255 − mean) / stddev.
struct Dataset {
  std::vector<int64_t> example_shape;  // {channels, height, width}, {features} or {tokens}
  int64_t num_classes = 0;             // of tokens: the size of the vocabulary
  // Row-major, [size, example_size]; exactly one of the three is in use.
  std::vector<uint8_t> pixels;
  std::vector<float> features;
  // [size, example_size + 1], each in [0, num_classes). An example is a piece of text: its inputs
  // are all tokens but the last, the label of each of them is the token after it.
  std::vector<int32_t> tokens;
  float mean = 0;
  float stddev = 1;
  std::vector<int64_t> labels;  // [size], each in [0, num_classes); of tokens: empty
  // The natural owner of each example, [size], each in [0, num_clients); or empty.
  std::vector<int32_t> client_ids;
  int32_t num_clients = 0;
  std::vector<std::string> client_names;  // [num_clients], or empty: they have none
  // The classes that are told apart here: the logits of others are left out, in training and in
  // evaluation. All labels are in it. Empty, begin == end: all classes.
  struct ClassRange {
    int64_t begin = 0, end = 0;
    bool empty() const { return begin == end; }
  };
  ClassRange head;

  bool has_tokens() const { return !tokens.empty(); }
  int64_t size() const {
    return has_tokens() ? static_cast<int64_t>(tokens.size()) / (example_size() + 1)
                        : static_cast<int64_t>(labels.size());
  }
  int64_t example_size() const;  // values in one example: the product of example_shape

  // InvalidArgument: sizes that do not agree, a label or token out of range (naming the example,
  // what was found and the range), a client id out of range, stddev not positive, more than
  // 2^31 − 1 examples.
  absl::Status Validate() const;

  // Writes the examples `indices` (each in [0, size)), normalised, to
  // inputs[indices.size(), example_size] and their labels to targets[indices.size()]; of tokens,
  // both as they are, to targets[indices.size(), example_size].
  void Gather(absl::Span<const int32_t> indices, float* inputs, int64_t* targets) const;
  void GatherTokens(absl::Span<const int32_t> indices, int64_t* inputs, int64_t* targets) const;

  // The examples `indices`, in that order, as a dataset of their own.
  Dataset Subset(absl::Span<const int32_t> indices) const;

 private:
  absl::Status ValidateInputs() const;
};

// The examples of one client. Cheap to move; a copy copies the indices.
struct DataView {
  std::shared_ptr<const Dataset> dataset;
  std::vector<int32_t> indices;  // each in [0, dataset->size())

  // Every example, in order.
  static DataView All(std::shared_ptr<const Dataset> dataset);

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_DATASET_H_
