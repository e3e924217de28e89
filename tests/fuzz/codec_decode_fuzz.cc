// Hostile bytes into every codec's Decode and into DecodeUpdate. The first byte chooses the
// stages and, by its top bit, the whole payload; the second the layout and the version; the rest is
// the payload.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/codec/codec_registry.h"
#include "common/codec/update_payload.h"
#include "common/codec/value_check.h"

namespace tributary {
namespace {

std::vector<LayoutPtr> MakeLayouts() {
  constexpr TensorKind kBuffer = TensorKind::kBuffer;
  std::vector<LayoutPtr> layouts;
  for (std::vector<ParamLayout::Tensor> tensors : {
           std::vector<ParamLayout::Tensor>{{.name = "w", .shape = {2, 3}},
                                            {.name = "b", .shape = {2}},
                                            {.name = "mean", .shape = {2}, .kind = kBuffer}},
           {{.name = "w", .shape = {33}}, {.name = "empty", .shape = {0}}},
           {{.name = "mean", .shape = {3}, .kind = kBuffer}},
           {{.name = "empty", .shape = {4, 0}}},
           {{.name = "w", .shape = {700}}, {.name = "b", .shape = {3}}},
       }) {
    layouts.push_back(ParamLayout::Create(std::move(tensors)).value());
  }
  return layouts;
}

std::vector<std::unique_ptr<const Codec>> MakeCodecs() {
  std::vector<std::vector<config::Choice>> lists = {
      {{.name = "topk", .options = {{"warmup", {{"versions", 8}, {"from", 0.5}}}}},
       {.name = "int8"}},
      {{.name = "topk"}, {.name = "int8"}, {.name = "zstd"}},
      {{.name = "masked"}, {.name = "topk"}, {.name = "int4"}},
      {{.name = "masked"}, {.name = "bf16"}},
      {{.name = "randk", .options = {{"warmup", nlohmann::json::object()}}}, {.name = "sign"}},
      {{.name = "int8"}, {.name = "zstd"}},
  };
  for (const auto& entry : CodecRegistry().entries()) lists.push_back({{.name = entry.name}});
  std::vector<std::unique_ptr<const Codec>> codecs;
  for (const auto& list : lists) codecs.push_back(CreateCodec(list).value());
  return codecs;
}

Mask EveryThird(int64_t size) {
  std::vector<bool> keep(static_cast<size_t>(size));
  for (size_t i = 0; i < keep.size(); i += 3) keep[i] = true;
  return Mask(keep);
}

// Whatever was accepted must be safe to add, in any pieces, and what it says it is.
void Use(const DeltaPayload& delta, const ParamLayout& layout) {
  const int64_t size = layout.trainable_size();
  std::vector<float> values(static_cast<size_t>(size));
  const auto middle = static_cast<size_t>(size / 2);
  delta.AddTo(1.0F, {0, size / 2}, absl::MakeSpan(values).first(middle));
  delta.AddTo(1.0F, {size / 2, size}, absl::MakeSpan(values).subspan(middle));
  bool allowed = true;
  for (const float value : values) allowed = allowed && IsAllowed(value);
  TRIB_CHECK(delta.CheckFinite().ok() == allowed);
}

void Run(const std::string& input) {
  static const auto* const layouts = new std::vector<LayoutPtr>(MakeLayouts());
  static const auto* const codecs = new std::vector<std::unique_ptr<const Codec>>(MakeCodecs());
  if (input.size() < 2) return;
  const auto first = static_cast<uint8_t>(input[0]);
  const Codec* const codec = (*codecs)[(first & 0x7f) % codecs->size()].get();
  const auto second = static_cast<uint8_t>(input[1]);
  const LayoutPtr& layout = (*layouts)[second % layouts->size()];
  const Mask mask = EveryThird(layout->trainable_size());
  const CodecContext context{
      .layout = layout, .mask = &mask, .version = static_cast<Version>(second / layouts->size())};
  std::string payload = input.substr(2);
  if ((first & 0x80) == 0) {
    const auto check = codec->NewCheck(payload.size(), context);
    const size_t cut = payload.size() / 3;
    if (check != nullptr) {
      check->Take(absl::string_view(payload).substr(0, cut));
      check->Take(absl::string_view(payload).substr(cut));
    }
    const auto delta = codec->Decode(std::move(payload), context);
    if (delta.ok()) Use(**delta, *context.layout);
    if (check != nullptr) TRIB_CHECK(check->Finish() == (*delta)->CheckFinite());
    return;
  }
  const auto update =
      DecodeUpdate(*codec, {.num_examples = 1, .local_steps = 1}, std::move(payload), context);
  if (!update.ok()) return;
  TRIB_CHECK(update->delta->CheckFinite().ok());
  TRIB_CHECK(static_cast<int64_t>(update->buffers.size()) == context.layout->buffer_size());
  Use(*update->delta, *context.layout);
}

}  // namespace
}  // namespace tributary

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tributary::Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
