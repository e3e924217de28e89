#include "client_sdk/data/partition.h"

#include <memory>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/partitioners.h"

namespace tributary {

const Registry<Partitioner>& PartitionerRegistry() {
  using R = Registry<Partitioner>;
  static const R* const registry =
      new R("partition",
            {
                R::Of<IidPartitioner>("iid", "even and alike"),
                R::Of<DirichletPartitioner>("dirichlet", "label skew, set by a concentration"),
                R::Of<DualDirichletPartitioner>("dual_dirichlet",
                                                "sizes and labels skewed, each by a concentration"),
                R::Of<ShardsPartitioner>("shards", "a few shards of the examples sorted by label"),
                R::Of<ClassesPartitioner>("classes", "a fixed number of classes a client"),
                R::Of<CompassClassesPartitioner>("compass_classes",
                                                 "some classes a client, in unequal parts"),
                R::Of<QuantityPartitioner>("quantity", "alike in labels, uneven in size"),
                R::Of<NaturalPartitioner>("natural", "by the dataset's own owners"),
            });
  return *registry;
}

absl::StatusOr<Partition> PartitionDataset(const Dataset& data, const config::Choice& partition,
                                           int64_t clients, uint64_t seed) {
  if (clients < 1 || clients > data.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partition ", partition.name, ": ", clients, " clients for ", data.size(),
        " examples would leave a client empty; allowed: 1 to ", data.size(), " clients"));
  }
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<Partitioner> partitioner,
                        PartitionerRegistry().Create(partition));
  if (partitioner->by_label() && data.has_tokens()) {
    return absl::InvalidArgumentError(
        absl::StrCat("partition ", partition.name,
                     " deals out by label, and text has none; allowed: iid, natural, quantity"));
  }
  TRIB_ASSIGN_OR_RETURN(Partition parts,
                        partitioner->Deal(data, clients, Rng(seed).Split("partition")));
  for (size_t k = 0; k < parts.size(); ++k) {
    if (parts[k].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("partition ", partition.name, " leaves client ", k, " empty"));
    }
    absl::c_sort(parts[k]);
  }
  return parts;
}

}  // namespace tributary
