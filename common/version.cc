#include "common/version.h"

namespace tributary {

const char kVersion[] = TRIBUTARY_VERSION;

}  // namespace tributary
