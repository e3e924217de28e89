#include "common/codec/codec_registry.h"

#include "common/codec/fp16.h"
#include "common/codec/raw.h"

namespace tributary {

const Registry<CodecStage>& CodecRegistry() {
  using R = Registry<CodecStage>;
  static const R* const registry =
      new R("codec",
            {
                R::Of<RawFormat>("raw", "format: float32, nothing lost; 4 bytes a value"),
                R::Of<Fp16Format>("fp16", "format: float16, rounded to nearest; 2 bytes a value"),
            });
  return *registry;
}

}  // namespace tributary
