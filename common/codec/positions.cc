#include "common/codec/positions.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr int kMaxShift = 31;

size_t BytesOfBits(size_t bits) { return (bits + 7) / 8; }

// The lows of a block. A low is at most 31 bits at any bit, so the word at its byte holds it, and
// the last one needs a word to read.
using Lows = std::array<char, kPositionsPerBlock * kMaxShift / 8 + sizeof(uint64_t)>;

uint64_t LoadWord(const char* from, size_t bytes = sizeof(uint64_t)) {
  uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

int BestShift(absl::Span<const uint32_t> gaps) {
  const auto bits = [gaps](int shift) {
    uint64_t sum = gaps.size() * static_cast<uint64_t>(shift + 1);
    for (const uint32_t gap : gaps) sum += gap >> shift;
    return sum;
  };
  int shift = 0;
  uint64_t least = bits(0);
  while (shift < kMaxShift) {
    const uint64_t next = bits(shift + 1);
    if (next >= least) break;
    least = next;
    ++shift;
  }
  return shift;
}

void AppendBlock(absl::Span<const uint32_t> gaps, std::string& out) {
  const int shift = BestShift(gaps);
  Lows lows{};
  size_t bit = 0;
  uint64_t zeros = 0;
  for (const uint32_t gap : gaps) {
    char* const at = lows.data() + bit / 8;
    const uint64_t low = gap & ((uint64_t{1} << shift) - 1);
    const uint64_t word = LoadWord(at) | low << (bit % 8);
    std::memcpy(at, &word, sizeof(word));
    bit += static_cast<size_t>(shift);
    zeros += gap >> shift;
  }
  out.push_back(static_cast<char>(shift));
  out.append(lows.data(), BytesOfBits(bit));

  const size_t begin = out.size();
  out.resize(begin + BytesOfBits(gaps.size() + zeros));
  size_t high = 0;
  for (const uint32_t gap : gaps) {
    high += gap >> shift;
    out[begin + high / 8] |= static_cast<char>(1 << high % 8);
    ++high;
  }
}

// Takes a block off `bytes`. Its positions are at least `least` and below `size`.
absl::Status ReadBlock(absl::string_view& bytes, uint64_t least, size_t size,
                       absl::Span<uint32_t> positions) {
  const auto ends_early = [] { return absl::InvalidArgumentError("the positions end early"); };
  if (bytes.empty()) return ends_early();
  const auto shift = static_cast<uint8_t>(bytes[0]);
  if (shift > kMaxShift) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shift of a block of positions is ", shift, "; allowed: 0 to 31"));
  }
  const size_t low_bytes = BytesOfBits(positions.size() * shift);
  if (bytes.size() <= 1 + low_bytes) return ends_early();
  Lows lows;
  std::memcpy(lows.data(), bytes.data() + 1, low_bytes);
  const absl::string_view highs = bytes.substr(1 + low_bytes);

  const uint64_t low_mask = (uint64_t{1} << shift) - 1;
  const auto word_at = [highs](size_t offset) {
    return LoadWord(highs.data() + offset, std::min(highs.size() - offset, sizeof(uint64_t)));
  };
  size_t offset = 0;
  uint64_t word = word_at(0);
  size_t high = 0;
  uint64_t low_sum = least;
  for (size_t i = 0; i < positions.size(); ++i) {
    while (word == 0) {
      offset += sizeof(word);
      if (offset >= highs.size()) return ends_early();
      word = word_at(offset);
    }
    high = 8 * offset + static_cast<size_t>(std::countr_zero(word));
    word &= word - 1;
    const size_t bit = i * shift;
    low_sum += LoadWord(lows.data() + bit / 8) >> bit % 8 & low_mask;
    // The i ones before are the positions themselves, and i more are what they step over.
    positions[i] = static_cast<uint32_t>(low_sum + i + ((high - i) << shift));
  }
  const size_t last = positions.size() - 1;
  const uint64_t zeros = high - last;
  if (zeros > size >> shift || low_sum + last + (zeros << shift) >= size) {
    return absl::InvalidArgumentError(absl::StrCat("a position is not below ", size));
  }
  bytes = highs.substr(high / 8 + 1);
  return absl::OkStatus();
}

}  // namespace

void AppendPositions(const Positions& positions, size_t size, std::string& out) {
  TRIB_CHECK(positions.empty() || positions.back() < size);
  const auto count = static_cast<uint32_t>(positions.size());
  out.append(reinterpret_cast<const char*>(&count), sizeof(count));
  if (count == size) return;
  uint32_t least = 0;
  std::array<uint32_t, kPositionsPerBlock> gaps;
  for (size_t begin = 0; begin < count; begin += gaps.size()) {
    const auto block = absl::MakeSpan(positions).subspan(begin, gaps.size());
    for (size_t i = 0; i < block.size(); ++i) {
      gaps[i] = block[i] - least;
      least = block[i] + 1;
    }
    AppendBlock(absl::MakeSpan(gaps).first(block.size()), out);
  }
}

absl::StatusOr<Positions> ReadPositions(absl::string_view& bytes, size_t size,
                                        absl::string_view stage) {
  uint32_t count;
  if (bytes.size() < sizeof(count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(stage, ": the number of positions takes 4 bytes, found ", bytes.size()));
  }
  std::memcpy(&count, bytes.data(), sizeof(count));
  bytes.remove_prefix(sizeof(count));
  if (count == size) return AllPositions(size);
  if (count > size || BytesOfBits(count) > bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat(stage, ": ", count, " positions out of ", size,
                                                   " in ", bytes.size(), " bytes"));
  }
  Positions positions(count);
  uint64_t least = 0;
  for (size_t begin = 0; begin < count; begin += kPositionsPerBlock) {
    const auto block = absl::MakeSpan(positions).subspan(begin, kPositionsPerBlock);
    const absl::Status read = ReadBlock(bytes, least, size, block);
    if (!read.ok()) return absl::InvalidArgumentError(absl::StrCat(stage, ": ", read.message()));
    least = uint64_t{block.back()} + 1;
  }
  return positions;
}

Positions AllPositions(size_t size) {
  Positions all(size);
  std::iota(all.begin(), all.end(), 0U);
  return all;
}

Positions PositionsOfBits(absl::Span<const uint64_t> words, size_t count) {
  Positions positions(count);
  size_t next = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    for (uint64_t word = words[i]; word != 0; word &= word - 1) {
      TRIB_CHECK(next < count);
      positions[next++] =
          static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(word));
    }
  }
  TRIB_CHECK(next == count);
  return positions;
}

}  // namespace tributary
