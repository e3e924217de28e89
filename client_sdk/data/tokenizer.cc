#include "client_sdk/data/tokenizer.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/data/utf8.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  int64_t vocabulary() const override { return 256; }
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int32_t> tokens;
    tokens.reserve(text.size());
    for (const char c : text) tokens.push_back(static_cast<uint8_t>(c));
    return tokens;
  }
  std::string Decode(absl::Span<const int32_t> tokens) const override {
    std::string text;
    for (const int32_t token : tokens) text.push_back(static_cast<char>(token));
    return text;
  }
};

template <typename Visit>
absl::Status ForEachCharacter(absl::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = CharacterSize(text.substr(at));
    if (size == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("byte ", at, ": not UTF-8; `tokens: bytes` takes any text"));
    }
    TRIB_RETURN_IF_ERROR(visit(text.substr(at, size), at));
    at += size;
  }
  return absl::OkStatus();
}

class CharacterTokenizer final : public Tokenizer {
 public:
  // In the order of their tokens.
  explicit CharacterTokenizer(std::vector<std::string> characters)
      : characters_(std::move(characters)) {
    for (const std::string& character : characters_) {
      tokens_.emplace(character, static_cast<int32_t>(tokens_.size()));
    }
  }

  int64_t vocabulary() const override { return std::ssize(characters_); }
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int32_t> tokens;
    TRIB_RETURN_IF_ERROR(ForEachCharacter(text, [&](absl::string_view character, size_t at) {
      const auto found = tokens_.find(std::string(character));
      if (found == tokens_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("byte ", at, ": the character '", absl::Utf8SafeCEscape(character),
                         "' is none of the ", characters_.size(), " that the training text has"));
      }
      tokens.push_back(found->second);
      return absl::OkStatus();
    }));
    return tokens;
  }
  std::string Decode(absl::Span<const int32_t> tokens) const override {
    std::string text;
    for (const int32_t token : tokens) text += characters_[static_cast<size_t>(token)];
    return text;
  }

 private:
  const std::vector<std::string> characters_;
  std::map<std::string, int32_t> tokens_;
};

}  // namespace

std::unique_ptr<Tokenizer> MakeByteTokenizer() { return std::make_unique<ByteTokenizer>(); }

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeCharacterTokenizer(
    absl::Span<const absl::string_view> texts) {
  std::set<std::string> found;  // UTF-8 sorts as its code points do
  for (const absl::string_view text : texts) {
    TRIB_RETURN_IF_ERROR(ForEachCharacter(text, [&](absl::string_view character, size_t) {
      found.emplace(character);
      return absl::OkStatus();
    }));
  }
  return std::make_unique<CharacterTokenizer>(std::vector<std::string>(found.begin(), found.end()));
}

}  // namespace tributary
