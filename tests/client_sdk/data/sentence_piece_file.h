// SentencePiece's .model files, made by hand: a model is its pieces, Trainer and Normalizer joined.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_FILE_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_FILE_H_

#include <string>

#include "absl/base/casts.h"
#include "client_sdk/data/sentence_piece_model.h"

namespace tributary::test {

inline std::string Varint(unsigned value) {
  std::string bytes;
  for (; value >= 128; value /= 128) bytes += static_cast<char>(value % 128 + 128);
  return bytes + static_cast<char>(value);
}

// Fields of a protobuf message, by number.
inline std::string Number(unsigned number, unsigned value) {
  return Varint(number << 3) + Varint(value);
}
inline std::string Bytes(unsigned number, const std::string& bytes) {
  return Varint(number << 3 | 2) + Varint(static_cast<unsigned>(bytes.size())) + bytes;
}
inline std::string Float(unsigned number, float value) {
  std::string field = Varint(number << 3 | 5);
  const auto bits = absl::bit_cast<uint32_t>(value);
  for (int i = 0; i < 4; ++i) field += static_cast<char>(bits >> (8 * i));
  return field;
}

inline std::string Piece(const std::string& text, float score, SentencePieceModel::Kind kind) {
  return Bytes(1, Bytes(1, text) + Float(2, score) + Number(3, static_cast<unsigned>(kind)));
}
inline std::string Trainer(const std::string& fields) { return Bytes(2, fields); }
inline std::string Normalizer(const std::string& fields) { return Bytes(3, fields); }

// Unigrams <unk>, <s>, ▁, a, b, ab, ▁ab: the tokens 0 to 6.
inline std::string SmallSentencePieceModel() {
  using Kind = SentencePieceModel::Kind;
  std::string model = Piece("<unk>", 0, Kind::kUnknown) + Piece("<s>", 0, Kind::kControl);
  for (const char* text : {"\u2581", "a", "b", "ab", "\u2581ab"}) {
    model += Piece(text, -1, Kind::kNormal);
  }
  return model;
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_DATA_SENTENCE_PIECE_FILE_H_
