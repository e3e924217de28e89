#include "client_sdk/data/sentence_piece_normalizer.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client_sdk/data/utf8.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr size_t kMaxText = 1024;                           // bounds what a file can make of a text
constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

uint32_t UnitAt(absl::string_view bytes, size_t at) {
  uint32_t unit = 0;
  for (size_t i = 4; i-- > 0;) unit = unit << 8 | static_cast<uint8_t>(bytes[at + i]);
  return unit;
}

size_t Offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200U) >> 6); }
bool HasLeaf(uint32_t unit) { return (unit & 0x100U) != 0; }
bool HasLabel(uint32_t unit, uint8_t byte) { return (unit & 0x800000ffU) == byte; }

}  // namespace

absl::StatusOr<CharacterMap> CharacterMap::Parse(absl::string_view bytes) {
  CharacterMap map;
  if (bytes.empty()) return map;
  const size_t trie = bytes.size() < 4 ? 0 : UnitAt(bytes, 0);
  if (trie == 0 || trie % 4 != 0 || trie >= bytes.size() - 4 || bytes.back() != '\0') {
    return absl::InvalidArgumentError(
        absl::StrCat("precompiled_charsmap has ", bytes.size(), " bytes, of which it says that ",
                     trie, " are a trie; expected a multiple of 4, and texts that end with zero"));
  }
  for (size_t at = 4; at < 4 + trie; at += 4) map.units_.push_back(UnitAt(bytes, at));
  map.texts_ = std::string(bytes.substr(4 + trie));
  for (const absl::string_view text : absl::StrSplit(map.texts_, '\0')) {
    if (text.size() > kMaxText) {
      return absl::InvalidArgumentError(absl::StrCat(
          "precompiled_charsmap has a text of ", text.size(), " bytes; allowed: up to ", kMaxText));
    }
  }
  return map;
}

std::optional<CharacterMap::Rule> CharacterMap::Find(absl::string_view text) const {
  std::optional<Rule> rule;
  if (units_.empty()) return rule;
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || !HasLabel(units_[node], byte)) break;
    const bool has_leaf = HasLeaf(units_[node]);
    node ^= Offset(units_[node]);
    if (!has_leaf) continue;
    if (node >= units_.size()) break;
    const size_t begin = units_[node] & 0x7fffffffU;
    if (begin >= texts_.size()) break;
    rule = {i + 1, absl::string_view(texts_.data() + begin)};
  }
  return rule;
}

absl::StatusOr<SentencePieceNormalizer> SentencePieceNormalizer::Create(
    const SentencePieceModel& model, PieceIndex user_defined) {
  SentencePieceNormalizer normalizer;
  TRIB_ASSIGN_OR_RETURN(normalizer.rules_, CharacterMap::Parse(model.charsmap));
  normalizer.user_defined_ = std::move(user_defined);
  normalizer.dummy_prefix_ = model.add_dummy_prefix;
  normalizer.remove_extra_spaces_ = model.remove_extra_whitespaces;
  normalizer.space_is_suffix_ = model.whitespace_is_suffix;
  normalizer.space_ = model.escape_whitespaces ? kSpacePiece : absl::string_view(" ");
  return normalizer;
}

CharacterMap::Rule SentencePieceNormalizer::Next(absl::string_view text) const {
  if (const size_t size = user_defined_.LongestPrefix(text); size > 0) {
    return {size, text.substr(0, size)};
  }
  if (const auto rule = rules_.Find(text)) return *rule;
  const size_t size = CharacterSize(text);
  return size == 0 ? CharacterMap::Rule{1, kReplacement}
                   : CharacterMap::Rule{size, text.substr(0, size)};
}

std::string SentencePieceNormalizer::Normalize(absl::string_view text) const {
  std::string normalized;
  bool after_space = remove_extra_spaces_;  // the next spaces are left out
  bool begun = false;
  while (!text.empty()) {
    auto [read, piece] = Next(text);
    text.remove_prefix(read);
    if (!begun && remove_extra_spaces_ && piece == " ") continue;
    if (!std::exchange(begun, true) && dummy_prefix_ && !space_is_suffix_) {
      absl::StrAppend(&normalized, space_);
    }
    while (after_space && absl::ConsumePrefix(&piece, " ")) {
    }
    absl::StrAppend(&normalized, absl::StrReplaceAll(piece, {{" ", space_}}));
    if (!piece.empty()) after_space = remove_extra_spaces_ && absl::EndsWith(piece, " ");
  }
  if (!begun) return normalized;
  while (remove_extra_spaces_ && absl::EndsWith(normalized, space_)) {
    normalized.resize(normalized.size() - space_.size());
  }
  if (dummy_prefix_ && space_is_suffix_) absl::StrAppend(&normalized, space_);
  return normalized;
}

}  // namespace tributary
