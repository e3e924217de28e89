// Hostile bytes into ModelDifference::Apply. The first byte chooses the codec, the second the
// layout; the rest is the delta.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/codec/version_delta.h"

namespace tributary {
namespace {

std::vector<std::unique_ptr<const ModelDifference>> MakeDeltas() {
  std::vector<std::unique_ptr<const ModelDifference>> deltas;
  for (const DownlinkSpec& spec :
       {DownlinkSpec{}, DownlinkSpec{{{.name = "bf16"}}},
        DownlinkSpec{{{.name = "topk"}, {.name = "int8"}}},
        DownlinkSpec{{{.name = "randk"}, {.name = "sign"}, {.name = "zstd"}}}}) {
    deltas.push_back(ModelDifference::Create(spec).value());
  }
  return deltas;
}

std::vector<ParamVector> MakeModels() {
  std::vector<ParamVector> models;
  for (const int64_t size : {0, 1, 40, 700}) {
    models.emplace_back(
        ParamLayout::Create({{.name = "w", .shape = {size}},
                             {.name = "mean", .shape = {3}, .kind = TensorKind::kBuffer}})
            .value());
    const absl::Span<float> values = models.back().values();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 20.5F;
  }
  return models;
}

void Run(const std::string& input) {
  static const auto* const deltas =
      new std::vector<std::unique_ptr<const ModelDifference>>(MakeDeltas());
  static const auto* const models = new std::vector<ParamVector>(MakeModels());
  if (input.size() < 2) return;
  const ModelDifference& delta = *(*deltas)[static_cast<uint8_t>(input[0]) % deltas->size()];
  const ParamVector& before = (*models)[static_cast<uint8_t>(input[1]) % models->size()];
  ParamVector after = before.Clone();
  if (!delta.Apply(7, input.substr(2), after).ok()) return;
  // What exact bytes make has exact bytes of its own.
  if (!delta.exact()) return;
  ParamVector again = before.Clone();
  TRIB_CHECK(delta.Apply(7, delta.Encode(7, before, after), again).ok());
  TRIB_CHECK(again.ComputeDigest() == after.ComputeDigest());
}

}  // namespace
}  // namespace tributary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tributary::Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
