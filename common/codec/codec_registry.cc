#include "common/codec/codec_registry.h"

#include "common/codec/bf16.h"
#include "common/codec/fp16.h"
#include "common/codec/masked.h"
#include "common/codec/quantised.h"
#include "common/codec/randk.h"
#include "common/codec/raw.h"
#include "common/codec/sign.h"
#include "common/codec/topk.h"
#include "common/codec/zstd.h"

namespace tributary {

const Registry<CodecStage>& CodecRegistry() {
  using R = Registry<CodecStage>;
  static const R* const registry = new R(
      "codec",
      {
          R::Of<MaskedSelector>("masked", "selector: the values that the job's mask keeps"),
          R::Of<TopkSelector>("topk", "selector: the values of the largest magnitude"),
          R::Of<RandkSelector>("randk", "selector: values chosen at random"),
          R::Of<RawFormat>("raw", "format: float32, nothing lost; 4 bytes a value"),
          R::Of<Fp16Format>("fp16", "format: float16, rounded to nearest; 2 bytes a value"),
          R::Of<Bf16Format>("bf16", "format: bfloat16, rounded to nearest; 2 bytes a value"),
          R::Of<Int8Format>("int8", "format: 255 steps of a block's scale; 1 byte a value"),
          R::Of<Int4Format>("int4", "format: 15 steps of a block's scale; 4 bits a value"),
          R::Of<SignFormat>("sign", "format: a block's mean magnitude, signed; 1 bit a value"),
          R::Of<ZstdCompressor>("zstd", "compressor: Zstandard; nothing lost"),
      });
  return *registry;
}

}  // namespace tributary
