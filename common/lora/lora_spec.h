// The `lora:` section of a job: its model is tuned through low-rank adapters, see low_rank.h.
#ifndef TRIBUTARY_COMMON_LORA_LORA_SPEC_H_
#define TRIBUTARY_COMMON_LORA_LORA_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/schema.h"
#include "common/ids.h"

namespace tributary {

struct LoraSpec {
  std::optional<int64_t> rank;  // one for all; or
  std::optional<std::vector<int64_t>> ranks;
  // Which of `ranks` a client gets that asks for none, from the largest on:
  //   in_turn  by the order in which clients first came, round and round
  //   memory   the largest whose training fits into the memory that the client declares
  //   speed    by measured seconds a step: the fastest share of the clients gets the largest
  std::string assign = "in_turn";
  double alpha = 16;
  bool rslora = false;  // s = α/√r (Kalajdzievski 2023, arXiv 2312.03732) instead of α/r
  double dropout = 0;   // of an adapter's inputs, in training
  // Of modules: a weight's name without ".weight".
  std::vector<std::string> targets = {"*.q_proj", "*.v_proj", "*.c_attn"};
  std::optional<bool> fan_in_fan_out;  // weights are [inputs, outputs]; absent: as the model's are
  double max_product_norm = 1e6;  // ‖s·B·A‖_F of a module, above which an update is refused

  static void Describe(config::Fields<LoraSpec>& fields);
  absl::Status Validate() const;  // exactly one of rank and ranks

  std::vector<int64_t> Ranks() const;  // descending, each once
  int64_t min_rank() const { return Ranks().back(); }
  int64_t max_rank() const { return Ranks().front(); }
  double Scale(int64_t of_rank) const;  // s
};

enum class AdapterFactors { kBoth, kA, kB };

// What clients and coordinator must agree on of a rule that combines adapters
// (aggregators/lora/lora_aggregator.h has the rules).
struct LoraRule {
  std::string name;
  bool keeps_adapter = true;   // clients go on from an adapter that is part of the model
  bool moves_weights = false;  // versions change the weights that clients hold frozen
  bool alternates = false;     // B is trained and sent from even versions, A from odd ones
  AdapterFactors trains = AdapterFactors::kBoth;
  AdapterFactors sends = AdapterFactors::kBoth;  // what is trained and not sent, stays with clients

  AdapterFactors TrainsFrom(Version base) const { return alternates ? Turn(base) : trains; }
  AdapterFactors SendsFrom(Version base) const { return alternates ? Turn(base) : sends; }
  bool own_b() const { return trains != sends; }

 private:
  static AdapterFactors Turn(Version base) {
    return base % 2 == 0 ? AdapterFactors::kB : AdapterFactors::kA;
  }
};

bool IsLoraRule(absl::string_view name);
// InvalidArgument: no rule of this name.
absl::StatusOr<LoraRule> FindLoraRule(absl::string_view name);

// What both ends know of a job's adapters: its section, its rule, and how its model's weights are
// stored. Travels as JSON.
struct LoraTerms {
  LoraSpec spec;
  std::string rule;
  bool transposed_weights = false;  // [inputs, outputs], where the section does not say it

  static void Describe(config::Fields<LoraTerms>& fields);
};
// InvalidArgument for text that is none.
absl::StatusOr<LoraTerms> ParseLoraTerms(const std::string& json);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_LORA_SPEC_H_
