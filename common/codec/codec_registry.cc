#include "common/codec/codec_registry.h"

#include "common/codec/fp16.h"
#include "common/codec/raw.h"

namespace tributary {

const Registry<Codec>& CodecRegistry() {
  using R = Registry<Codec>;
  static const R* const registry = new R(
      "codec", {
                   R::Of<RawCodec>("raw", "float32, nothing lost; 4 bytes a coordinate"),
                   R::Of<Fp16Codec>("fp16", "float16, rounded to nearest; 2 bytes a coordinate"),
               });
  return *registry;
}

}  // namespace tributary
