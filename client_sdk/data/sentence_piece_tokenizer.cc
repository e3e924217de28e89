#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/data/sentence_piece_model.h"
#include "client_sdk/data/sentence_piece_normalizer.h"
#include "client_sdk/data/sentence_piece_segments.h"
#include "client_sdk/data/sentence_piece_vocabulary.h"
#include "client_sdk/data/tokenizer.h"
#include "client_sdk/data/utf8.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

using Kind = SentencePieceModel::Kind;

constexpr int64_t kMaxModelBytes = int64_t{1} << 28;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(SentencePieceModel model, SentencePieceVocabulary vocabulary,
                         SentencePieceNormalizer normalizer)
      : model_(std::move(model)),
        vocabulary_(std::move(vocabulary)),
        normalizer_(std::move(normalizer)) {}

  int64_t vocabulary() const override { return std::ssize(vocabulary_.pieces); }
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override;
  std::string Decode(absl::Span<const int32_t> tokens) const override;

 private:
  // What a token that is no byte says. `at_begin`: nothing has been said yet, so a space is
  // encoding's.
  absl::string_view Surface(int32_t token, bool& at_begin) const;

  const SentencePieceModel model_;  // without its pieces
  const SentencePieceVocabulary vocabulary_;
  const SentencePieceNormalizer normalizer_;
};

absl::StatusOr<std::vector<int32_t>> SentencePieceTokenizer::Encode(absl::string_view text) const {
  const std::string normalized = normalizer_.Normalize(text);
  const std::vector<Segment> segments = model_.algorithm == SentencePieceModel::Algorithm::kUnigram
                                            ? BestUnigrams(vocabulary_, normalized)
                                            : MergedPairs(vocabulary_, normalized);
  std::vector<int32_t> tokens;
  tokens.reserve(segments.size());
  bool after_unknown = false;  // unknown characters in a row are one token
  for (const Segment& segment : segments) {
    const bool unknown = segment.token == vocabulary_.unknown;
    if (unknown && model_.byte_fallback) {
      for (const char byte : segment.text) {
        tokens.push_back(vocabulary_.bytes[static_cast<uint8_t>(byte)]);
      }
    } else if (!unknown || !after_unknown) {
      tokens.push_back(segment.token);
    }
    after_unknown = unknown;
  }
  return tokens;
}

absl::string_view SentencePieceTokenizer::Surface(int32_t token, bool& at_begin) const {
  const SentencePieceModel::Piece& piece = vocabulary_.piece(token);
  if (piece.kind == Kind::kControl) return "";
  if (piece.kind == Kind::kUnknown) return model_.unknown_surface;
  absl::string_view text = piece.text;
  if (at_begin && (model_.add_dummy_prefix || model_.remove_extra_whitespaces) &&
      absl::ConsumePrefix(&text, kSpacePiece)) {
    at_begin = model_.remove_extra_whitespaces;  // else the next space is the text's own
  }
  return text;
}

// Bytes as text: what is not UTF-8 becomes U+FFFD, a byte at a time.
void AppendBytes(absl::string_view bytes, std::string& text) {
  while (!bytes.empty()) {
    const size_t size = CharacterSize(bytes);
    absl::StrAppend(&text, size > 0 ? bytes.substr(0, size) : "\xEF\xBF\xBD");
    bytes.remove_prefix(std::max<size_t>(1, size));
  }
}

std::string SentencePieceTokenizer::Decode(absl::Span<const int32_t> tokens) const {
  std::string text, bytes;
  bool at_begin = true;
  for (const int32_t token : tokens) {
    const SentencePieceModel::Piece& piece = vocabulary_.piece(token);
    if (piece.kind == Kind::kByte) {
      const auto* const found = absl::c_find(vocabulary_.bytes, token);
      bytes.push_back(static_cast<char>(found - vocabulary_.bytes.begin()));
      continue;
    }
    AppendBytes(std::exchange(bytes, {}), text);
    at_begin = at_begin && text.empty();
    const absl::string_view said = Surface(token, at_begin);
    absl::StrAppend(&text, absl::StrReplaceAll(said, {{kSpacePiece, " "}}));
  }
  AppendBytes(bytes, text);
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(absl::string_view model) {
  TRIB_ASSIGN_OR_RETURN(SentencePieceModel parsed, ParseSentencePieceModel(model));
  SentencePieceVocabulary vocabulary(std::exchange(parsed.pieces, {}));
  auto normalizer = SentencePieceNormalizer::Create(parsed, vocabulary.user_defined);
  if (!normalizer.ok()) return WithContext(normalizer.status(), "not a SentencePiece model");
  return std::make_unique<SentencePieceTokenizer>(std::move(parsed), std::move(vocabulary),
                                                  *std::move(normalizer));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadSentencePieceTokenizer(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const std::string model, ReadFileBytes(path, kMaxModelBytes));
  auto tokenizer = MakeSentencePieceTokenizer(model);
  if (!tokenizer.ok()) return WithContext(tokenizer.status(), path);
  return tokenizer;
}

}  // namespace tributary
