#include "client_sdk/data/sentence_piece_vocabulary.h"

#include <utility>

#include "absl/strings/numbers.h"

namespace tributary {

PieceIndex::PieceIndex(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.text < b.text; });
}

std::optional<int32_t> PieceIndex::Find(absl::string_view text) const {
  const auto found = std::partition_point(entries_.begin(), entries_.end(),
                                          [text](const Entry& e) { return e.text < text; });
  if (found == entries_.end() || found->text != text) return std::nullopt;
  return found->token;
}

size_t PieceIndex::LongestPrefix(absl::string_view text) const {
  size_t longest = 0;
  ForEachPrefix(text, [&longest](size_t size, int32_t) { longest = size; });
  return longest;
}

SentencePieceVocabulary::SentencePieceVocabulary(std::vector<SentencePieceModel::Piece> all)
    : pieces(std::move(all)) {
  using Kind = SentencePieceModel::Kind;
  std::vector<PieceIndex::Entry> in_text, by_user;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    const SentencePieceModel::Piece& piece = pieces[i];
    if (IsText(piece.kind)) in_text.push_back({piece.text, token});
    if (piece.kind == Kind::kUserDefined) by_user.push_back({piece.text, token});
    if (piece.kind == Kind::kUnknown) unknown = token;
    if (piece.kind == Kind::kNormal) {
      lowest_score = std::min(lowest_score, piece.score);
      highest_score = std::max(highest_score, piece.score);
    }
    unsigned byte = 0;
    if (piece.kind == Kind::kByte && absl::SimpleHexAtoi(piece.text.substr(3, 2), &byte)) {
      bytes[byte] = token;
    }
  }
  text = PieceIndex(std::move(in_text));
  user_defined = PieceIndex(std::move(by_user));
}

}  // namespace tributary
