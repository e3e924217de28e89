#include "client_sdk/data/partitioners.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/partition_deal.h"

namespace tributary {
namespace {

absl::Status EnoughFor(int64_t clients, int64_t min_examples, const Dataset& data) {
  if (min_examples <= data.size() / clients) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("min_examples is ", min_examples, "; ",
                                                 data.size(), " examples for ", clients,
                                                 " clients allow up to ", data.size() / clients));
}

absl::Status TooSmall(absl::string_view name, size_t client, int64_t size, int64_t min_examples) {
  const std::string what =
      size == 0 ? "empty" : absl::StrCat("with ", size, " of min_examples = ", min_examples);
  return absl::InvalidArgumentError(
      absl::StrCat("partition ", name, " leaves client ", client, " ", what, " in each of ",
                   kMaxDraws, " draws; allowed: a larger alpha, fewer clients, more examples"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<IidPartitioner>> IidPartitioner::Create(const Options&) {
  return std::make_unique<IidPartitioner>();
}

absl::StatusOr<Partition> IidPartitioner::Deal(const Dataset& data, int64_t clients,
                                               Rng rng) const {
  Partition parts(static_cast<size_t>(clients));
  DealOut(Shuffled(data.size(), std::move(rng)), EvenSizes(data.size(), clients), Everyone(clients),
          parts);
  return parts;
}

void DirichletPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields.Add("alpha", &Options::alpha, "concentration: small is skewed, large is iid")
      .GreaterThan(0)
      .Max(1e6);
  fields.Add("min_examples", &Options::min_examples, "what every client has at least").Min(1);
}

absl::StatusOr<std::unique_ptr<DirichletPartitioner>> DirichletPartitioner::Create(
    const Options& options) {
  return std::make_unique<DirichletPartitioner>(options);
}

absl::StatusOr<Partition> DirichletPartitioner::Deal(const Dataset& data, int64_t clients,
                                                     Rng rng) const {
  TRIB_RETURN_IF_ERROR(EnoughFor(clients, options_.min_examples, data));
  const std::vector<Indices> by_class = ShuffledByClass(data, rng);
  Rng shares = rng.Split("shares");
  size_t smallest = 0;
  std::vector<int64_t> totals;
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    totals.assign(static_cast<size_t>(clients), 0);
    std::vector<std::vector<int64_t>> sizes;
    for (const Indices& examples : by_class) {
      sizes.push_back(ProportionalSizes(static_cast<int64_t>(examples.size()),
                                        shares.Dirichlet(options_.alpha, clients)));
      for (size_t k = 0; k < totals.size(); ++k) totals[k] += sizes.back()[k];
    }
    smallest = static_cast<size_t>(absl::c_min_element(totals) - totals.begin());
    if (totals[smallest] < options_.min_examples) continue;
    Partition parts(static_cast<size_t>(clients));
    for (size_t c = 0; c < by_class.size(); ++c) {
      DealOut(by_class[c], sizes[c], Everyone(clients), parts);
    }
    return parts;
  }
  return TooSmall("dirichlet", smallest, totals[smallest], options_.min_examples);
}

void ShardsPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields.Add("shards_per_client", &Options::shards_per_client, "shards of sorted labels a client")
      .Min(1);
}

absl::StatusOr<std::unique_ptr<ShardsPartitioner>> ShardsPartitioner::Create(
    const Options& options) {
  return std::make_unique<ShardsPartitioner>(options);
}

absl::StatusOr<Partition> ShardsPartitioner::Deal(const Dataset& data, int64_t clients,
                                                  Rng rng) const {
  if (options_.shards_per_client > data.size() / clients) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partition shards: shards_per_client is ", options_.shards_per_client, "; ", data.size(),
        " examples for ", clients, " clients allow up to ", data.size() / clients));
  }
  Indices sorted;
  for (const Indices& examples : ShuffledByClass(data, rng)) {
    sorted.insert(sorted.end(), examples.begin(), examples.end());
  }
  const int64_t shards = clients * options_.shards_per_client;
  std::vector<size_t> owners(static_cast<size_t>(shards));
  for (size_t i = 0; i < owners.size(); ++i) owners[i] = i % static_cast<size_t>(clients);
  Rng deal = rng.Split("deal");
  deal.Shuffle(absl::MakeSpan(owners));
  Partition parts(static_cast<size_t>(clients));
  DealOut(sorted, EvenSizes(data.size(), shards), owners, parts);
  return parts;
}

void ClassesPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields.Add("classes_per_client", &Options::classes_per_client, "classes that each client holds")
      .Min(1);
}

absl::StatusOr<std::unique_ptr<ClassesPartitioner>> ClassesPartitioner::Create(
    const Options& options) {
  return std::make_unique<ClassesPartitioner>(options);
}

absl::StatusOr<Partition> ClassesPartitioner::Deal(const Dataset& data, int64_t clients,
                                                   Rng rng) const {
  const std::vector<Indices> by_class = ShuffledByHeldClass(data, rng);
  const auto classes = static_cast<int64_t>(by_class.size());
  const int64_t held = options_.classes_per_client;
  if (held > classes || clients < (classes + held - 1) / held) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partition classes: classes_per_client is ", held, " for ", clients, " clients and ",
        classes, " classes; allowed: ", (classes + clients - 1) / clients, " to ", classes));
  }
  std::vector<std::vector<size_t>> holders(by_class.size());
  Rng deal = rng.Split("deal");
  std::vector<size_t> order(by_class.size());
  std::iota(order.begin(), order.end(), 0);
  for (size_t k = 0; k < static_cast<size_t>(clients); ++k) {
    deal.Shuffle(absl::MakeSpan(order));
    absl::c_stable_sort(order,
                        [&](size_t a, size_t b) { return holders[a].size() < holders[b].size(); });
    for (size_t i = 0; i < static_cast<size_t>(held); ++i) holders[order[i]].push_back(k);
  }
  Partition parts(static_cast<size_t>(clients));
  for (size_t c = 0; c < by_class.size(); ++c) {
    if (by_class[c].size() < holders[c].size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "partition classes: a class has ", by_class[c].size(), " examples for ",
          holders[c].size(), " clients; allowed: fewer clients, a smaller classes_per_client"));
    }
    DealOut(by_class[c],
            EvenSizes(static_cast<int64_t>(by_class[c].size()),
                      static_cast<int64_t>(holders[c].size())),
            holders[c], parts);
  }
  return parts;
}

void QuantityPartitioner::Options::Describe(config::Fields<Options>& fields) {
  fields.Add("alpha", &Options::alpha, "concentration: small is uneven, large is even")
      .GreaterThan(0)
      .Max(1e6);
  fields.Add("min_examples", &Options::min_examples, "what every client has at least").Min(1);
}

absl::StatusOr<std::unique_ptr<QuantityPartitioner>> QuantityPartitioner::Create(
    const Options& options) {
  return std::make_unique<QuantityPartitioner>(options);
}

absl::StatusOr<Partition> QuantityPartitioner::Deal(const Dataset& data, int64_t clients,
                                                    Rng rng) const {
  TRIB_RETURN_IF_ERROR(EnoughFor(clients, options_.min_examples, data));
  Rng shares = rng.Split("shares");
  size_t smallest = 0;
  std::vector<int64_t> sizes;
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    sizes = ProportionalSizes(data.size(), shares.Dirichlet(options_.alpha, clients));
    smallest = static_cast<size_t>(absl::c_min_element(sizes) - sizes.begin());
    if (sizes[smallest] < options_.min_examples) continue;
    Partition parts(static_cast<size_t>(clients));
    DealOut(Shuffled(data.size(), rng.Split("shuffle")), sizes, Everyone(clients), parts);
    return parts;
  }
  return TooSmall("quantity", smallest, sizes[smallest], options_.min_examples);
}

absl::StatusOr<std::unique_ptr<NaturalPartitioner>> NaturalPartitioner::Create(const Options&) {
  return std::make_unique<NaturalPartitioner>();
}

absl::StatusOr<Partition> NaturalPartitioner::Deal(const Dataset& data, int64_t clients,
                                                   Rng) const {
  if (data.client_ids.empty()) {
    return absl::InvalidArgumentError(
        "partition natural: the dataset does not say whose its examples are; csv says so with "
        "`client`, synthetic with `natural_clients`");
  }
  Partition parts(static_cast<size_t>(data.num_clients));
  for (size_t i = 0; i < data.client_ids.size(); ++i) {
    parts[static_cast<size_t>(data.client_ids[i])].push_back(static_cast<int32_t>(i));
  }
  std::erase_if(parts, [](const Indices& part) { return part.empty(); });
  if (clients > static_cast<int64_t>(parts.size())) {
    return absl::InvalidArgumentError(absl::StrCat("partition natural: ", clients,
                                                   " clients; allowed: up to the ", parts.size(),
                                                   " owners that have examples"));
  }
  parts.resize(static_cast<size_t>(clients));
  return parts;
}

}  // namespace tributary
