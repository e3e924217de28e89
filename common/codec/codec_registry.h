// The table of codec stages. See common/registry.h for what an entry needs.
#ifndef TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_
#define TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_

#include "common/codec/stage.h"
#include "common/registry.h"

namespace tributary {

const Registry<CodecStage>& CodecRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_
