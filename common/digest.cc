#include "common/digest.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tributary {

static_assert(std::endian::native == std::endian::little,
              "float spans are hashed and written as they stand in memory");

std::string Digest::ToHex() const { return absl::BytesToHexString(ToBytes()); }

absl::StatusOr<Digest> Digest::FromHex(absl::string_view hex) {
  if (hex.size() != 64 || !std::all_of(hex.begin(), hex.end(), absl::ascii_isxdigit)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a SHA-256 digest has 64 hexadecimal digits, found '",
                     absl::CHexEscape(hex.substr(0, 80)), "'"));
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

absl::StatusOr<Digest> Digest::FromBytes(absl::string_view raw) {
  Digest digest;
  if (raw.size() != digest.bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a SHA-256 digest has 32 bytes, found ", raw.size()));
  }
  std::copy(raw.begin(), raw.end(), digest.bytes.begin());
  return digest;
}

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(md); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  TRIB_CHECK(EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(absl::string_view data) {
  TRIB_CHECK(context_ != nullptr);
  TRIB_CHECK(EVP_DigestUpdate(context_->md, data.data(), data.size()) == 1);
}

void Sha256::Update(absl::Span<const float> data) {
  Update(
      absl::string_view(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(float)));
}

Digest Sha256::Finish() {
  TRIB_CHECK(context_ != nullptr);
  Digest digest;
  TRIB_CHECK(EVP_DigestFinal_ex(context_->md, digest.bytes.data(), nullptr) == 1);
  context_.reset();
  return digest;
}

Digest Sha256::Of(absl::string_view data) {
  Sha256 sha;
  sha.Update(data);
  return sha.Finish();
}

std::string Xxh128::ToHex() const {
  return absl::StrCat(absl::Hex(high, absl::kZeroPad16), absl::Hex(low, absl::kZeroPad16));
}

absl::StatusOr<Xxh128> Xxh128::FromHex(absl::string_view hex) {
  Xxh128 value;
  if (hex.size() == 32 && std::all_of(hex.begin(), hex.end(), absl::ascii_isxdigit) &&
      absl::SimpleHexAtoi(hex.substr(0, 16), &value.high) &&
      absl::SimpleHexAtoi(hex.substr(16), &value.low)) {
    return value;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("an XXH3-128 checksum has 32 hexadecimal digits, found '",
                   absl::CHexEscape(hex.substr(0, 80)), "'"));
}

uint64_t Xxh3(absl::string_view data) { return XXH3_64bits(data.data(), data.size()); }

Xxh128 Xxh128Of(absl::string_view data) {
  const XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  return {.low = hash.low64, .high = hash.high64};
}

struct Xxh3Stream::Context {
  XXH3_state_t* state = XXH3_createState();
  ~Context() { XXH3_freeState(state); }
};

Xxh3Stream::Xxh3Stream() : context_(std::make_unique<Context>()) {
  TRIB_CHECK(context_->state != nullptr && XXH3_128bits_reset(context_->state) == XXH_OK);
}
Xxh3Stream::~Xxh3Stream() = default;
Xxh3Stream::Xxh3Stream(Xxh3Stream&&) noexcept = default;
Xxh3Stream& Xxh3Stream::operator=(Xxh3Stream&&) noexcept = default;

void Xxh3Stream::Update(absl::string_view data) {
  XXH3_128bits_update(context_->state, data.data(), data.size());
}

Xxh128 Xxh3Stream::Value() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(context_->state);
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace tributary
