#include "common/lora/lora_spec.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr AdapterFactors kA = AdapterFactors::kA, kB = AdapterFactors::kB;

const std::vector<LoraRule>& Rules() {
  static const auto* const rules = new std::vector<LoraRule>{
      {.name = "lora_stacking", .keeps_adapter = false, .moves_weights = true},
      {.name = "lora_average"},
      {.name = "lora_zero_padding"},
      {.name = "ffa", .trains = kB, .sends = kB},
      {.name = "hetlora"},
      {.name = "flexlora"},
      {.name = "fedex", .moves_weights = true},
      {.name = "lora_fair"},
      {.name = "rolora", .alternates = true},
      {.name = "fedsa", .sends = kA},
  };
  return *rules;
}

}  // namespace

void LoraSpec::Describe(config::Fields<LoraSpec>& fields) {
  using L = LoraSpec;
  fields.Add("rank", &L::rank, "one rank for all clients").Min(1).Max(4096);
  fields.Add("ranks", &L::ranks, "instead: ranks that clients of different means may have")
      .Min(1)
      .Max(4096)
      .MinItems(1);
  fields
      .Add("assign", &L::assign,
           "which of `ranks` a client gets that asks for none: in_turn, by the order in which "
           "clients first came; memory, the largest that fits into the memory that it declares; "
           "speed, the largest for the fastest share of the clients")
      .OneOf({"in_turn", "memory", "speed"});
  fields.Add("alpha", &L::alpha, "an adapter counts alpha / rank").GreaterThan(0).Max(1e6);
  fields.Add("rslora", &L::rslora, "alpha / sqrt(rank) instead");
  fields.Add("dropout", &L::dropout, "share of an adapter's inputs dropped in training")
      .Min(0)
      .LessThan(1);
  fields
      .Add("targets", &L::targets,
           "patterns ('*', '?') of the modules that get an adapter: linear layers and "
           "convolutions, by the name of their weight without '.weight'")
      .MinItems(1);
  fields.Add("fan_in_fan_out", &L::fan_in_fan_out,
             "the targets' weights are stored [inputs, outputs], as GPT-2's are; absent: as those "
             "of the built-in model, and not so in any other");
  fields
      .Add("max_product_norm", &L::max_product_norm,
           "largest Frobenius norm of what an adapter adds to a weight; an update with a larger "
           "one is refused")
      .GreaterThan(0)
      .Max(1e18);
}

absl::Status LoraSpec::Validate() const {
  if (rank.has_value() != ranks.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("must be exactly one of rank and ranks; found ", rank ? "both" : "neither"));
}

std::vector<int64_t> LoraSpec::Ranks() const {
  if (rank) return {*rank};
  std::vector<int64_t> descending = *ranks;
  std::sort(descending.begin(), descending.end(), std::greater<>());
  descending.erase(std::unique(descending.begin(), descending.end()), descending.end());
  return descending;
}

double LoraSpec::Scale(int64_t of_rank) const {
  const auto r = static_cast<double>(of_rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

bool IsLoraRule(absl::string_view name) {
  return std::ranges::any_of(Rules(), [&](const LoraRule& rule) { return rule.name == name; });
}

absl::StatusOr<LoraRule> FindLoraRule(absl::string_view name) {
  for (const LoraRule& rule : Rules()) {
    if (rule.name == name) return rule;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no rule that combines adapters is called '", name, "'"));
}

void LoraTerms::Describe(config::Fields<LoraTerms>& fields) {
  std::vector<std::string> rules;
  for (const LoraRule& rule : Rules()) rules.push_back(rule.name);
  fields.Add("spec", &LoraTerms::spec, "the job's lora section").Required();
  fields.Add("rule", &LoraTerms::rule, "that combines adapters").Required().OneOf(rules);
  fields.Add("transposed_weights", &LoraTerms::transposed_weights, "[inputs, outputs]");
}

absl::StatusOr<LoraTerms> ParseLoraTerms(const std::string& json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(json));
  return config::Parse<LoraTerms>(node, "lora");
}

}  // namespace tributary
