// Hostile bytes into AdapterStepCodec::Apply. The first byte chooses the rule and the codec; the
// rest is the step.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/codec/adapter_step.h"

namespace tributary {
namespace {

struct Target {
  std::unique_ptr<const AdapterStepCodec> steps;
  ParamVector model;
};

std::vector<Target> MakeTargets() {
  const LayoutPtr ordinary = ParamLayout::Create({{.name = "a.weight", .shape = {6, 4}},
                                                  {.name = "b.weight", .shape = {3, 2, 2, 2}},
                                                  {.name = "c.bias", .shape = {5}}})
                                 .value();
  std::vector<Target> targets;
  for (const char* rule : {"lora_stacking", "ffa", "fedex"}) {
    for (const DownlinkSpec& spec : {DownlinkSpec{}, DownlinkSpec{{{.name = "fp16"}}},
                                     DownlinkSpec{{{.name = "int8"}, {.name = "zstd"}}}}) {
      LoraTerms terms{.rule = rule};
      terms.spec.rank = 2;
      terms.spec.targets = {"a", "b"};
      const auto plan = LoraPlan::Create(terms, *ordinary).value();
      targets.push_back({AdapterStepCodec::Create(spec, std::move(terms)).value(),
                         plan->FirstModel(ParamVector(ordinary), 1)});
    }
  }
  return targets;
}

void Run(const std::string& input) {
  static const auto* const targets = new std::vector<Target>(MakeTargets());
  if (input.empty()) return;
  const Target& target = (*targets)[static_cast<uint8_t>(input[0]) % targets->size()];
  ParamVector once = target.model.Clone(), twice = target.model.Clone();
  const bool applied = target.steps->Apply(7, input.substr(1), once).ok();
  TRIB_CHECK(applied == target.steps->Apply(7, input.substr(1), twice).ok());
  if (!applied) return;
  TRIB_CHECK(once.ComputeDigest() == twice.ComputeDigest());
  const auto untouched = once.View("c.bias");
  for (const float value : untouched) TRIB_CHECK(value == 0);
}

}  // namespace
}  // namespace tributary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tributary::Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
