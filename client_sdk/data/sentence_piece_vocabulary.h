// The pieces of a SentencePiece model, found by their text.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_VOCABULARY_H_
#define TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_VOCABULARY_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client_sdk/data/sentence_piece_model.h"

namespace tributary {

// Texts with a token each, sorted. Immutable, thread-safe.
class PieceIndex {
 public:
  struct Entry {
    std::string text;  // not empty
    int32_t token = 0;
  };
  PieceIndex() = default;
  explicit PieceIndex(std::vector<Entry> entries);  // of distinct texts

  std::optional<int32_t> Find(absl::string_view text) const;
  // visit(size, token) for each entry that `text` begins with, the shortest first.
  template <typename Visit>
  void ForEachPrefix(absl::string_view text, Visit visit) const {
    auto begin = entries_.begin();
    auto end = entries_.end();  // those between have the first `at` bytes of `text`, and more
    for (size_t at = 0; at < text.size() && begin != end; ++at) {
      const auto byte = static_cast<uint8_t>(text[at]);
      const auto byte_of = [at](const Entry& e) { return static_cast<uint8_t>(e.text[at]); };
      begin = std::partition_point(begin, end, [&](const Entry& e) { return byte_of(e) < byte; });
      end = std::partition_point(begin, end, [&](const Entry& e) { return byte_of(e) == byte; });
      if (begin != end && begin->text.size() == at + 1) {
        visit(at + 1, begin->token);
        ++begin;
      }
    }
  }
  // The size of the longest entry that `text` begins with; 0: none.
  size_t LongestPrefix(absl::string_view text) const;

 private:
  std::vector<Entry> entries_;
};

// Immutable, thread-safe.
struct SentencePieceVocabulary {
  explicit SentencePieceVocabulary(std::vector<SentencePieceModel::Piece> pieces);

  const SentencePieceModel::Piece& piece(int32_t token) const {
    return pieces[static_cast<size_t>(token)];
  }

  std::vector<SentencePieceModel::Piece> pieces;  // by token
  PieceIndex text;                                // IsText
  PieceIndex user_defined;                        // these are never split, whatever their score
  int32_t unknown = 0;
  std::array<int32_t, 256> bytes = {};  // with the byte fallback
  // Of normal pieces; the highest one is above 0 at least, as in SentencePiece.
  float lowest_score = std::numeric_limits<float>::max();
  float highest_score = std::numeric_limits<float>::min();
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_VOCABULARY_H_
