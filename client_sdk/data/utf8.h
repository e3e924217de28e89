// UTF-8, a character at a time.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_UTF8_H_
#define TRIBUTARY_CLIENT_SDK_DATA_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace tributary {

// How many bytes the character that `text` begins with has; 0: it begins with none (RFC 3629: no
// surrogates, nothing longer than need be), or is empty.
size_t CharacterSize(absl::string_view text);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_UTF8_H_
