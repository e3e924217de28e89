#include "common/codec/block_format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/vector_clones.h"

namespace tributary {
namespace {

using SignTable = std::array<std::array<int8_t, 8>, 256>;

// The eight codes of one bit each that are in a byte.
constexpr SignTable kSigns = [] {
  SignTable signs{};
  for (size_t byte = 0; byte < 256; ++byte) {
    for (size_t bit = 0; bit < 8; ++bit) signs[byte][bit] = (byte >> bit & 1) != 0 ? -1 : 1;
  }
  return signs;
}();

// `count` bytes of codes in `bytes`. Codes are there for the whole of the last byte.
void Pack(size_t bits, const int8_t* codes, size_t count, char* bytes) {
  if (bits == 8) {
    std::memcpy(bytes, codes, count);
  } else if (bits == 4) {
    for (size_t i = 0; i < count; ++i) {
      const unsigned low = codes[2 * i] & 0xfU, high = codes[2 * i + 1] & 0xfU;
      bytes[i] = static_cast<char>(low | high << 4);
    }
  } else {
    for (size_t i = 0; i < count; ++i) {
      unsigned byte = 0;
      for (size_t k = 0; k < 8; ++k) byte |= (codes[8 * i + k] < 0 ? 1U : 0U) << k;
      bytes[i] = static_cast<char>(byte);
    }
  }
}

// The codes in `count` bytes: these themselves, or in `room`.
const int8_t* Unpack(size_t bits, const char* bytes, size_t count, int8_t* __restrict room) {
  if (bits == 8) return reinterpret_cast<const int8_t*>(bytes);
  if (bits == 4) {
    for (size_t i = 0; i < count; ++i) {
      const auto byte = static_cast<uint8_t>(bytes[i]);
      room[2 * i] = static_cast<int8_t>(static_cast<int8_t>(byte << 4) >> 4);
      room[2 * i + 1] = static_cast<int8_t>(static_cast<int8_t>(byte) >> 4);
    }
  } else {
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(room + 8 * i, kSigns[static_cast<uint8_t>(bytes[i])].data(), 8);
    }
  }
  return room;
}

TRIB_VECTOR_CLONES void AddCodes(const int8_t* codes, size_t count, float scale, float weight,
                                 float* __restrict to) {
  for (size_t i = 0; i < count; ++i) {
    const float value = scale * static_cast<float>(codes[i]);
    to[i] += weight * value;
  }
}

float LoadScale(absl::string_view bytes, size_t block) {
  float scale;
  std::memcpy(&scale, bytes.data() + block * sizeof(float), sizeof(float));
  return scale;
}

}  // namespace

absl::Status CheckBlock(int64_t block) {
  if (block % 8 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("found ", block, "; allowed are multiples of 8"));
}

BlockFormat::BlockFormat(size_t bits, size_t block) : bits_(bits), block_(block) {
  TRIB_CHECK(bits == 1 || bits == 4 || bits == 8);
  TRIB_CHECK(block > 0 && block % 8 == 0);
}

size_t BlockFormat::ScaleBytes(size_t count) const {
  return (count / block_ + (count % block_ != 0 ? 1 : 0)) * sizeof(float);
}

size_t BlockFormat::CodeBytes(size_t count) const { return (count * bits_ + 7) / 8; }

size_t BlockFormat::BytesOf(size_t count) const { return ScaleBytes(count) + CodeBytes(count); }

void BlockFormat::Encode(absl::Span<const float> values, Rng rng, std::string& out) const {
  const size_t scales = out.size();
  out.reserve(scales + BytesOf(values.size()));
  out.resize(scales + ScaleBytes(values.size()));
  std::array<int8_t, kMostAtOnce> codes;
  std::array<char, kMostAtOnce> packed;
  for (size_t begin = 0; begin < values.size(); begin += block_) {
    const absl::Span<const float> block = values.subspan(begin, block_);
    float scale = ScaleOf(block);
    if (!std::isfinite(scale)) scale = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(out.data() + scales + begin / block_ * sizeof(float), &scale, sizeof(float));
    for (size_t at = 0; at < block.size(); at += kMostAtOnce) {
      const absl::Span<const float> some = block.subspan(at, kMostAtOnce);
      codes.fill(0);
      if (scale > 0) Quantise(some, scale, rng, codes.data());
      const size_t bytes = CodeBytes(some.size());
      Pack(bits_, codes.data(), bytes, packed.data());
      out.append(packed.data(), bytes);
    }
  }
}

absl::Status BlockFormat::Check(absl::string_view bytes, size_t count) const {
  TRIB_CHECK(bytes.size() == BytesOf(count));
  for (size_t block = 0; block * block_ < count; ++block) {
    const float scale = LoadScale(bytes, block);
    if (!std::signbit(scale)) continue;
    return absl::InvalidArgumentError(absl::StrCat(name(), ": the scale of block ", block, " is ",
                                                   scale, "; allowed are numbers from 0"));
  }
  const size_t left_over = CodeBytes(count) * 8 - count * bits_;
  if (left_over == 0 || static_cast<uint8_t>(bytes.back()) >> (8 - left_over) == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(name(), ": the last byte is ",
                                                 static_cast<uint8_t>(bytes.back()), ", of whose ",
                                                 "highest ", left_over, " bits none may be 1"));
}

void BlockFormat::AddTo(absl::string_view bytes, size_t count, float weight, CoordinateRange range,
                        absl::Span<float> accumulator) const {
  TRIB_CHECK(bytes.size() == BytesOf(count));
  const char* const codes = bytes.data() + ScaleBytes(count);
  const auto begin = static_cast<size_t>(range.begin), end = static_cast<size_t>(range.end);
  std::array<int8_t, kMostAtOnce> room;
  size_t at = begin;
  for (size_t block = begin / block_; at < end; ++block) {
    const float scale = LoadScale(bytes, block);
    const size_t block_end = std::min(end, (block + 1) * block_);
    while (at < block_end) {
      const size_t first = at / 8 * 8;  // its code begins a byte
      const size_t stop = std::min(block_end, first + kMostAtOnce);
      const int8_t* const unpacked =
          Unpack(bits_, codes + CodeBytes(first), CodeBytes(stop - first), room.data());
      AddCodes(unpacked + (at - first), stop - at, scale, weight,
               accumulator.data() + (at - begin));
      at = stop;
    }
  }
}

}  // namespace tributary
