// SentencePieceNormalizer: text as a SentencePiece model reads it: characters replaced by the
// model's rules, spaces as ▁ and where words begin.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_NORMALIZER_H_
#define TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_NORMALIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client_sdk/data/sentence_piece_model.h"
#include "client_sdk/data/sentence_piece_vocabulary.h"

namespace tributary {

inline constexpr absl::string_view kSpacePiece = "\xE2\x96\x81";  // ▁, U+2581

// The rules of a model, such as nmt_nfkc: what is read -> what stands for it. In the file they are
// a double-array trie (Aoe 1989) as Darts-clone writes it, little-endian:
//
//   bytes of the trie (4), trie (a unit of 32 bits each), texts that each end with a zero byte
//
//   unit    a node's: label (bits 0–7), has_leaf (8), offset (10–30, times 256 if bit 9)
//           a leaf's, bit 31 is set: where the text begins (bits 0–30)
//   node n, byte c    the child is at n ^ offset(n) ^ c, if its label is c
//   node n, has_leaf  its leaf is at n ^ offset(n)
//
// Immutable, thread-safe.
class CharacterMap {
 public:
  CharacterMap() = default;  // without rules
  // InvalidArgument: sizes that do not agree, a text of more than 1024 bytes.
  static absl::StatusOr<CharacterMap> Parse(absl::string_view bytes);

  struct Rule {
    size_t read = 0;  // bytes
    absl::string_view text;
  };
  // The longest rule for what `text` begins with; a trie that leads out of itself has none there.
  std::optional<Rule> Find(absl::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string texts_;
};

// Immutable, thread-safe.
class SentencePieceNormalizer {
 public:
  // Errors as CharacterMap.
  static absl::StatusOr<SentencePieceNormalizer> Create(const SentencePieceModel& model,
                                                        PieceIndex user_defined);

  // User-defined pieces stay as they are; a byte that is not UTF-8 becomes U+FFFD.
  std::string Normalize(absl::string_view text) const;

 private:
  CharacterMap::Rule Next(absl::string_view text) const;

  CharacterMap rules_;
  PieceIndex user_defined_;
  bool dummy_prefix_ = true;
  bool remove_extra_spaces_ = true;
  bool space_is_suffix_ = false;
  absl::string_view space_;  // what a space becomes
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_NORMALIZER_H_
