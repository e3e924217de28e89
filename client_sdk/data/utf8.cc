#include "client_sdk/data/utf8.h"

#include <cstdint>

namespace tributary {

size_t CharacterSize(absl::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const size_t size = byte(0) < 0x80                       ? 1
                      : byte(0) >= 0xc2 && byte(0) < 0xe0  ? 2
                      : byte(0) >= 0xe0 && byte(0) < 0xf0  ? 3
                      : byte(0) >= 0xf0 && byte(0) <= 0xf4 ? 4
                                                           : 0;
  if (size == 0 || size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool too_long = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xf0 && byte(1) < 0x90);
  const bool surrogate = byte(0) == 0xed && byte(1) >= 0xa0;
  const bool too_large = byte(0) == 0xf4 && byte(1) >= 0x90;
  return too_long || surrogate || too_large ? 0 : size;
}

}  // namespace tributary
