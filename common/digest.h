// SHA-256 identifies things for ever (published versions, layouts, configurations);
// XXH3 guards bytes in flight (it runs at memory bandwidth, SHA-256 at 1.1 GB/s).
#ifndef TRIBUTARY_COMMON_DIGEST_H_
#define TRIBUTARY_COMMON_DIGEST_H_

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tributary {

// A SHA-256 value.
struct Digest {
  std::array<uint8_t, 32> bytes{};

  std::string ToHex() const;                                     // 64 lower-case digits
  static absl::StatusOr<Digest> FromHex(absl::string_view hex);  // InvalidArgument
  std::string ToBytes() const { return std::string(bytes.begin(), bytes.end()); }
  static absl::StatusOr<Digest> FromBytes(absl::string_view raw);  // exactly 32 bytes

  auto operator<=>(const Digest&) const = default;
};

// Incremental SHA-256. Thread-compatible.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(absl::string_view data);
  void Update(absl::Span<const float> data);  // its little-endian bytes
  Digest Finish();                            // ends this object's use

  static Digest Of(absl::string_view data);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

uint64_t Xxh3(absl::string_view data);

// 128-bit XXH3 of a whole transfer, fed as chunks arrive.
struct Xxh128 {
  uint64_t low = 0;
  uint64_t high = 0;

  std::string ToHex() const;                                     // 32 lower-case digits
  static absl::StatusOr<Xxh128> FromHex(absl::string_view hex);  // InvalidArgument

  bool operator==(const Xxh128&) const = default;
};

// Of bytes that are all there.
Xxh128 Xxh128Of(absl::string_view data);

class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(Xxh3Stream&&) noexcept;
  Xxh3Stream& operator=(Xxh3Stream&&) noexcept;

  void Update(absl::string_view data);
  Xxh128 Value() const;  // of what was fed so far; may be called repeatedly

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_DIGEST_H_
