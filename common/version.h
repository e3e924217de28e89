// The version of this build, from CMakeLists.txt: "0.1.0".
#ifndef TRIBUTARY_COMMON_VERSION_H_
#define TRIBUTARY_COMMON_VERSION_H_

namespace tributary {

extern const char kVersion[];

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_VERSION_H_
