#include "client_sdk/data/dataset_spec.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_sdk/data/partition.h"
#include "client_sdk/data/task_data.h"

namespace tributary {
namespace {

struct KeyUse {
  const char* key;
  bool present;
  std::vector<absl::string_view> datasets;  // that take the key
};

std::vector<KeyUse> KeyUses(const DatasetSpec& spec) {
  return {
      {"path", spec.path.has_value(), {"fashion_mnist", "mnist", "csv", "npy", "text"}},
      {"normalize", spec.normalize.has_value(), {"fashion_mnist", "mnist", "csv", "npy"}},
      {"test_path", spec.test_path.has_value(), {"csv", "npy", "text"}},
      {"test_fraction", spec.test_fraction.has_value(), {"csv", "npy", "text"}},
      {"classes", spec.classes.has_value(), {"csv", "npy", "synthetic"}},
      {"label", spec.label.has_value(), {"csv"}},
      {"client", spec.client.has_value(), {"csv"}},
      {"features", !spec.features.empty(), {"csv"}},
      {"missing", spec.missing.has_value(), {"csv"}},
      {"labels_path", spec.labels_path.has_value(), {"npy"}},
      {"test_labels_path", spec.test_labels_path.has_value(), {"npy"}},
      {"tokens", spec.tokens.has_value(), {"text"}},
      {"model", spec.model.has_value(), {"text"}},
      {"context", spec.context.has_value(), {"text"}},
      {"owner", spec.owner.has_value(), {"text"}},
      {"dimensions", spec.dimensions.has_value(), {"synthetic"}},
      {"separation", spec.separation.has_value(), {"synthetic"}},
      {"noise", spec.noise.has_value(), {"synthetic"}},
      {"natural_clients", spec.natural_clients.has_value(), {"synthetic"}},
      {"client_shift", spec.client_shift.has_value(), {"synthetic"}},
  };
}

absl::Status Needs(const DatasetSpec& spec, absl::string_view key, bool present) {
  if (present) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("dataset '", spec.dataset, "' needs ", key));
}

}  // namespace

void NormalizeOptions::Describe(config::Fields<NormalizeOptions>& fields) {
  fields.Add("mean", &NormalizeOptions::mean, "subtracted from every input value");
  fields.Add("std", &NormalizeOptions::stddev, "and then divided by").GreaterThan(0);
}

config::Choice DatasetSpec::DefaultPartition() {
  config::Choice choice;
  choice.name = "iid";
  return choice;
}

void DatasetSpec::Describe(config::Fields<DatasetSpec>& fields) {
  using S = DatasetSpec;
  fields.Add("dataset", &S::dataset, "which reader")
      .Required()
      .OneOf({"fashion_mnist", "mnist", "csv", "npy", "text", "synthetic"});
  fields.Add("partition", &S::partition, "how the training examples are dealt out to clients")
      .Alternatives(PartitionerRegistry().Alternatives());
  fields.Add("train_examples", &S::train_examples, "keep so many training examples").Min(1);
  fields.Add("test_examples", &S::test_examples, "keep so many test examples").Min(1);
  fields.Add("seed", &S::seed, "of subsets, of a random test split and of synthetic data").Min(0);
  fields.Add("normalize", &S::normalize, "inputs become (x - mean) / std; bytes are x / 255 first");
  fields
      .Add("scenario", &S::scenario,
           "what each task's data are, in a job with `continual` tasks; absent: always these")
      .Alternatives(ScenarioRegistry().Alternatives());
  fields.Add("path", &S::path, "fashion_mnist, mnist: a folder; csv, npy: a file; text: either");
  fields.Add("test_path", &S::test_path, "csv, npy, text: the test set's file, or folder");
  fields
      .Add("test_fraction", &S::test_fraction,
           "csv, npy: or a random part of `path`; text: or the last part of each owner's text")
      .GreaterThan(0)
      .LessThan(1);
  fields.Add("classes", &S::classes, "csv, npy: labels are integers from 0 below it; synthetic")
      .Min(2)
      .Max(100000);
  fields.Add("label", &S::label, "csv: the label's column");
  fields.Add("client", &S::client, "csv: the column that says whose example it is");
  fields.Add("features", &S::features, "csv: the input columns; absent: all others");
  fields.Add("missing", &S::missing, "csv: what an empty value is")
      .OneOf({"error", "zero", "drop"});
  fields.Add("labels_path", &S::labels_path, "npy: the labels' file");
  fields.Add("test_labels_path", &S::test_labels_path, "npy: the test labels' file");
  fields
      .Add("tokens", &S::tokens,
           "text: what a token is; characters are those of the training text; absent: bytes")
      .OneOf({"bytes", "characters", "sentencepiece"});
  fields.Add("model", &S::model, "text with sentencepiece tokens: the .model file");
  fields.Add("context", &S::context, "text: tokens of an example; absent: 128").Min(1).Max(1000000);
  fields
      .Add("owner", &S::owner,
           "text: whose a text is, for the natural partition: its file's, or, in a play, the "
           "speaker's; absent: file")
      .OneOf({"file", "speaker"});
  fields.Add("dimensions", &S::dimensions, "synthetic: inputs of an example").Min(1).Max(100000);
  fields.Add("separation", &S::separation, "synthetic: distance of a class centre from 0").Min(0);
  fields.Add("noise", &S::noise, "synthetic: standard deviation around the centre").Min(0);
  fields.Add("natural_clients", &S::natural_clients, "synthetic: owners of the examples")
      .Min(1)
      .Max(1000000);
  fields.Add("client_shift", &S::client_shift, "synthetic: standard deviation of an owner's shift")
      .Min(0);
}

absl::Status DatasetSpec::Validate() const {
  for (const KeyUse& use : KeyUses(*this)) {
    if (!use.present || absl::c_linear_search(use.datasets, dataset)) continue;
    return absl::InvalidArgumentError(absl::StrCat("'", use.key, "' does not belong to dataset '",
                                                   dataset, "'; it belongs to ",
                                                   absl::StrJoin(use.datasets, ", ")));
  }
  if (dataset == "csv") {
    TRIB_RETURN_IF_ERROR(Needs(*this, "'path'", path.has_value()));
    TRIB_RETURN_IF_ERROR(Needs(*this, "'label'", label.has_value()));
  }
  if (dataset == "npy") {
    TRIB_RETURN_IF_ERROR(Needs(*this, "'path'", path.has_value()));
    TRIB_RETURN_IF_ERROR(Needs(*this, "'labels_path'", labels_path.has_value()));
    TRIB_RETURN_IF_ERROR(Needs(*this, "both of 'test_path' and 'test_labels_path', or neither",
                               test_path.has_value() == test_labels_path.has_value()));
  }
  if (dataset == "text") {
    TRIB_RETURN_IF_ERROR(Needs(*this, "'path'", path.has_value()));
    TRIB_RETURN_IF_ERROR(Needs(*this, "both of 'tokens: sentencepiece' and 'model', or neither",
                               (tokens == "sentencepiece") == model.has_value()));
  }
  if (dataset == "csv" || dataset == "npy" || dataset == "text") {
    TRIB_RETURN_IF_ERROR(Needs(*this, "exactly one of 'test_path' and 'test_fraction'",
                               test_path.has_value() != test_fraction.has_value()));
  }
  if (client_shift) {
    TRIB_RETURN_IF_ERROR(
        Needs(*this, "'natural_clients' beside 'client_shift'", natural_clients.has_value()));
  }
  return absl::OkStatus();
}

}  // namespace tributary
