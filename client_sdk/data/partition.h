// Partitioners: who holds which examples. Each deals a dataset out to virtual clients so
// that they differ in the way its name says; docs/data.md compares them.
//
//   TRIB_ASSIGN_OR_RETURN(auto parts, PartitionDataset(*data.train, spec.partition, 100, seed));
//   DataView client_7{data.train, parts[7]};
#ifndef TRIBUTARY_CLIENT_SDK_DATA_PARTITION_H_
#define TRIBUTARY_CLIENT_SDK_DATA_PARTITION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client_sdk/data/dataset.h"
#include "common/registry.h"
#include "common/rng.h"

namespace tributary {

using Partition = std::vector<std::vector<int32_t>>;  // [clients] of sorted indices

// Immutable, thread-safe.
class Partitioner {
 public:
  virtual ~Partitioner() = default;

  // Whether Deal looks at labels, which tokens do not have.
  virtual bool by_label() const { return false; }

  // Disjoint parts that cover the dataset (`natural` may leave owners out), none empty, the
  // same for the same arguments; not sorted. `clients` >= 1 and <= data.size(). InvalidArgument,
  // with what would help, when that cannot be.
  virtual absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const = 0;
};

// iid | dirichlet | dual_dirichlet | shards | classes | compass_classes | quantity | natural
const Registry<Partitioner>& PartitionerRegistry();

// Deals with the generator Rng(seed).Split("partition") and checks arguments and result.
// The live client and the simulator both call this: equal seeds give equal parts.
absl::StatusOr<Partition> PartitionDataset(const Dataset& data, const config::Choice& partition,
                                           int64_t clients, uint64_t seed);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_PARTITION_H_
