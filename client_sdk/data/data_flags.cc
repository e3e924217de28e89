#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client_sdk/data/dataset_spec.h"
#include "client_sdk/data/partition.h"
#include "common/config/yaml.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

config::Node Scalar(absl::string_view text) {
  config::Node node;
  node.kind = config::Node::Kind::kScalar;
  node.scalar = std::string(text);
  return node;
}

config::Node Mapping() {
  config::Node node;
  node.kind = config::Node::Kind::kMapping;
  return node;
}

void Put(config::Node& mapping, absl::string_view key, config::Node value) {
  mapping.members.push_back({std::string(key), {}, std::move(value)});
}

}  // namespace

absl::StatusOr<DatasetSpec> ParseDataFlag(absl::string_view text, absl::string_view field) {
  TRIB_ASSIGN_OR_RETURN(config::Node node, config::ParseYaml(text, field));
  if (node.kind == config::Node::Kind::kScalar) {
    config::Node mapping = Mapping();
    Put(mapping, "dataset", std::move(node));
    node = std::move(mapping);
  }
  return config::Parse<DatasetSpec>(node, std::string(field));
}

void PartitionFlag::Describe(config::Fields<PartitionFlag>& fields) {
  fields.Add("partition", &PartitionFlag::partition, "how the examples are dealt out")
      .Required()
      .Alternatives(PartitionerRegistry().Alternatives());
  fields.Add("clients", &PartitionFlag::clients, "parts").Required().Min(1);
  fields.Add("index", &PartitionFlag::index, "which part is this client's, from 0")
      .Required()
      .Min(0);
  fields.Add("seed", &PartitionFlag::seed, "equal seeds, equal parts").Min(0);
}

absl::Status PartitionFlag::Validate() const {
  if (index < clients) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("index is ", index, "; allowed: 0 to ", clients - 1, ", one less than clients"));
}

absl::StatusOr<PartitionFlag> ParsePartitionFlag(absl::string_view text, absl::string_view field) {
  const std::pair<absl::string_view, absl::string_view> halves =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  config::Node flag = Mapping();
  config::Node options = Mapping();
  for (const absl::string_view pair : absl::StrSplit(halves.second, ',', absl::SkipWhitespace())) {
    const size_t equals = pair.find('=');
    if (equals == absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": found '", pair, "'; expected key=value, as in ",
                       "dirichlet:alpha=0.3,clients=5,index=2,seed=1"));
    }
    const absl::string_view key = absl::StripAsciiWhitespace(pair.substr(0, equals));
    const bool ours = key == "clients" || key == "index" || key == "seed";
    config::Node& target = ours ? flag : options;
    if (target.Find(key) != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(field, ": '", key, "' stands twice"));
    }
    Put(target, key, Scalar(absl::StripAsciiWhitespace(pair.substr(equals + 1))));
  }
  config::Node choice = Mapping();
  Put(choice, absl::StripAsciiWhitespace(halves.first), std::move(options));
  Put(flag, "partition", std::move(choice));
  absl::StatusOr<PartitionFlag> parsed = config::Parse<PartitionFlag>(flag);
  if (!parsed.ok()) return WithContext(parsed.status(), field);
  return parsed;
}

}  // namespace tributary
