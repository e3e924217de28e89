#include "common/codec/version_delta.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/codec_registry.h"
#include "common/codec/update_payload.h"
#include "common/codec/zstd.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr size_t kPlanes = sizeof(float);

// A one-to-one map of floats onto integers in the same order: −0 is −1, +0 is 0, and neighbours
// are one apart.
uint32_t RankOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return bits ^ (bits >> 31 != 0 ? 0x7fffffffU : 0U);
}

float OfRank(uint32_t rank) {
  return std::bit_cast<float>(rank ^ (rank >> 31 != 0 ? 0x7fffffffU : 0U));
}

// 0, −1, 1, −2 … as 0, 1, 2, 3 …: a small distance of either sign has leading zeros.
uint32_t ZigZag(uint32_t distance) {
  return distance << 1 ^ (distance >> 31 != 0 ? 0xffffffffU : 0U);
}

uint32_t UnZigZag(uint32_t code) { return code >> 1 ^ ((code & 1U) != 0 ? 0xffffffffU : 0U); }

std::unique_ptr<ZstdCompressor> Zstd() { return *ZstdCompressor::Create({}); }

std::string EncodeExact(absl::Span<const float> before, absl::Span<const float> after) {
  const size_t n = after.size();
  std::string planes(kPlanes * n, '\0');
  for (size_t i = 0; i < n; ++i) {
    const uint32_t code = ZigZag(RankOf(after[i]) - RankOf(before[i]));
    for (size_t p = 0; p < kPlanes; ++p)
      planes[p * n + i] = static_cast<char>(code >> (24 - 8 * p));
  }
  return Zstd()->Compress(planes);
}

absl::Status ApplyExact(absl::string_view bytes, absl::Span<float> model) {
  const size_t n = model.size();
  TRIB_ASSIGN_OR_RETURN(const std::string planes, Zstd()->Decompress(bytes, kPlanes * n));
  if (planes.size() != kPlanes * n) {
    return absl::InvalidArgumentError(
        absl::StrCat("the delta of ", n, " values has ", planes.size(), " bytes in its planes"));
  }
  for (size_t i = 0; i < n; ++i) {
    uint32_t code = 0;
    for (size_t p = 0; p < kPlanes; ++p) code = code << 8 | static_cast<uint8_t>(planes[p * n + i]);
    model[i] = OfRank(RankOf(model[i]) + UnZigZag(code));
  }
  return absl::OkStatus();
}

// Random choices and rounding: both ends know the version.
CodecContext ContextOf(Version version, const ParamVector& model) {
  return {.layout = model.layout(),
          .rng = Rng(static_cast<uint64_t>(version)).Split("downlink"),
          .version = version - 1};
}

}  // namespace

void DownlinkSpec::Describe(config::Fields<DownlinkSpec>& fields) {
  fields
      .Add("codec", &DownlinkSpec::codec,
           "the form of the difference between two versions, stage by stage; an empty list: "
           "nothing is lost. What a lossy one leaves out of a version goes into the next")
      .Alternatives(CodecRegistry().Alternatives())
      .Check([](const DownlinkSpec& spec) { return CreateCodec(spec.codec).status(); });
}

absl::StatusOr<std::unique_ptr<const ModelDifference>> ModelDifference::Create(
    const DownlinkSpec& spec) {
  std::unique_ptr<const Codec> codec;
  if (!spec.codec.empty()) {
    TRIB_ASSIGN_OR_RETURN(codec, CreateCodec(spec.codec, /*error_feedback=*/true));
  }
  return std::unique_ptr<const ModelDifference>(new ModelDifference(std::move(codec)));
}

std::string ModelDifference::Encode(Version version, const ParamVector& before,
                                    const ParamVector& after) const {
  TRIB_CHECK(before.layout()->digest() == after.layout()->digest());
  if (exact()) return EncodeExact(before.values(), after.values());
  ParamVector difference = after.Clone();
  AddScaled(-1.0F, before.trainable(), difference.trainable());
  return EncodeUpdate(*codec_, difference, ContextOf(version, after));
}

absl::Status ModelDifference::Apply(Version version, std::string bytes, ParamVector& model) const {
  if (exact()) return ApplyExact(bytes, model.values());
  const UpdateInfo info{.num_examples = 1, .local_steps = 1};
  TRIB_ASSIGN_OR_RETURN(const Update update, DecodeCheckedUpdate(*codec_, info, std::move(bytes),
                                                                 ContextOf(version, model)));
  update.delta->AddTo(1.0F, {0, model.layout()->trainable_size()}, model.trainable());
  std::copy(update.buffers.begin(), update.buffers.end(), model.buffers().begin());
  return absl::OkStatus();
}

}  // namespace tributary
