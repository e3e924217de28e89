// The table of codecs. See common/registry.h for what an entry needs.
#ifndef TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_
#define TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_

#include "common/codec/codec.h"
#include "common/registry.h"

namespace tributary {

const Registry<Codec>& CodecRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_CODEC_REGISTRY_H_
