// The partitioners of partition.h's table. n is the number of examples, K of clients.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_PARTITIONERS_H_
#define TRIBUTARY_CLIENT_SDK_DATA_PARTITIONERS_H_

#include <memory>
#include <optional>

#include "client_sdk/data/partition.h"

namespace tributary {

// Shuffled and dealt evenly: sizes differ by one at most.
class IidPartitioner : public Partitioner {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<IidPartitioner>> Create(const Options& options);
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;
};

// Label skew: for each class, the clients' shares of it are drawn from Dirichlet(alpha, …)
// (Yurochkin et al. 2019; Li et al. 2022, "p_k ~ Dir(beta)"). Small alpha: few classes a
// client. Drawn again, up to 1,000 times, until every client has min_examples.
class DirichletPartitioner : public Partitioner {
 public:
  struct Options {
    double alpha = 0.5;
    int64_t min_examples = 1;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit DirichletPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<DirichletPartitioner>> Create(const Options& options);
  bool by_label() const override { return true; }
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// FedCompass' dual Dirichlet partition (Li et al. 2024, "FedCompass"; its published code):
//
//   W ~ Dir(size_concentration / K · 1), C_i ~ Dir(class_concentration · prior),
//   client i's share of class j = W_i C_ij / Σ_k W_k C_kj, times the class's examples, rounded
//   down; the last client gets the rest.
//
// prior_j: the share of class j in the whole. A client without examples gets one of the largest's.
class DualDirichletPartitioner : public Partitioner {
 public:
  struct Options {
    std::optional<double> size_concentration;  // absent: K
    double class_concentration = 0.5;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit DualDirichletPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<DualDirichletPartitioner>> Create(const Options& options);
  bool by_label() const override { return true; }
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// Sorted by label, cut into K · shards_per_client even shards, dealt at random (McMahan et
// al. 2017). A shard that is no longer than the smallest class holds two classes at most.
class ShardsPartitioner : public Partitioner {
 public:
  struct Options {
    int64_t shards_per_client = 2;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit ShardsPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<ShardsPartitioner>> Create(const Options& options);
  bool by_label() const override { return true; }
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// Every client holds exactly classes_per_client classes (Li et al. 2022, "#C = k"), those
// held least often so far, ties drawn at random; a class is split evenly among its holders.
class ClassesPartitioner : public Partitioner {
 public:
  struct Options {
    int64_t classes_per_client = 2;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit ClassesPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<ClassesPartitioner>> Create(const Options& options);
  bool by_label() const override { return true; }
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// FedCompass' class partition (Li et al. 2024; its published code): every client draws c classes,
// c uniform from min_classes to max_classes, all clients again until every class is held, up to
// 1,000 times; a class is split among its holders in proportion to |N(10, 3²)|. Absent bounds, by
// K: 1: 10, 10; 2: 7, 8; 3: 6, 8; 4: 5, 7; 5: 5, 6; 6: 4, 6; 7: 4, 5; more: 3, 5; no more than
// there are classes. A client without examples gets one of the largest's.
class CompassClassesPartitioner : public Partitioner {
 public:
  struct Options {
    std::optional<int64_t> min_classes;
    std::optional<int64_t> max_classes;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit CompassClassesPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<CompassClassesPartitioner>> Create(const Options& options);
  bool by_label() const override { return true; }
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// Quantity skew: labels as in the whole, sizes n · Dirichlet(alpha, …) (Li et al. 2022).
// Drawn again, up to 1,000 times, until every client has min_examples.
class QuantityPartitioner : public Partitioner {
 public:
  struct Options {
    double alpha = 1.0;
    int64_t min_examples = 1;
    static void Describe(config::Fields<Options>& fields);
  };
  explicit QuantityPartitioner(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<QuantityPartitioner>> Create(const Options& options);
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;

 private:
  const Options options_;
};

// Client k is the k-th of the dataset's own owners that have examples. With fewer clients
// than owners, the examples of the others are left out.
class NaturalPartitioner : public Partitioner {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<NaturalPartitioner>> Create(const Options& options);
  absl::StatusOr<Partition> Deal(const Dataset& data, int64_t clients, Rng rng) const override;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_PARTITIONERS_H_
