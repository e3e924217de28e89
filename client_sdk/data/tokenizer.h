// Tokenizer: text as tokens, the numbers that a language model reads, and back.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_TOKENIZER_H_
#define TRIBUTARY_CLIENT_SDK_DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tributary {

// Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Tokens are in [0, vocabulary()).
  virtual int64_t vocabulary() const = 0;
  // InvalidArgument: what the text has that cannot be told in tokens, and where.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const = 0;
  virtual std::string Decode(absl::Span<const int32_t> tokens) const = 0;
};

// Bytes: 256 tokens, and every text has them.
std::unique_ptr<Tokenizer> MakeByteTokenizer();

// The distinct characters of `texts`, in the order of their code points. InvalidArgument: text that
// is not UTF-8.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeCharacterTokenizer(
    absl::Span<const absl::string_view> texts);

// The pieces of a SentencePiece model, unigram or byte pairs: the bytes of its `.model` file, and
// the file. Tokens are those of the library that wrote it, sentencepiece. Control pieces (<s>,
// </s>) are none that text encodes to, and decode to nothing. NotFound: no such file; otherwise as
// ParseSentencePieceModel and CharacterMap::Parse.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(absl::string_view model);
absl::StatusOr<std::unique_ptr<Tokenizer>> ReadSentencePieceTokenizer(const std::string& path);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_TOKENIZER_H_
