// SentencePieceModel: what a `.model` file of SentencePiece holds (Kudo & Richardson 2018,
// "SentencePiece: A simple and language independent subword tokenizer"), as values. The file is a
// protobuf, sentencepiece_model.proto of that project; it is read here field by field, because
// Debian's libsentencepiece brings a protobuf of its own that cannot stand beside LibTorch's.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_MODEL_H_
#define TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tributary {

// The values of enums are the file's.
struct SentencePieceModel {
  enum class Algorithm { kUnigram = 1, kBytePairs = 2 };
  enum class Kind { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;  // unigram: log probability; byte pairs: the higher, the earlier it is merged
    Kind kind = Kind::kNormal;
  };

  std::vector<Piece> pieces;  // the tokens, in their order
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;  // what no piece covers is told in the 256 pieces <0x00> to <0xFF>
  bool whitespace_is_suffix = false;               // words end with ▁ and do not begin with it
  std::string unknown_surface = " \xE2\x81\x87 ";  // what the unknown piece decodes to: ⁇
  std::string charsmap;                            // see sentence_piece_normalizer.h
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;  // ▁ for a space
};

// Whether text is made of such pieces: they are found in it by what they say. The others are not.
bool IsText(SentencePieceModel::Kind kind);

// InvalidArgument: bytes that are no such file, or one that contradicts itself: no or two unknown
// pieces, a piece without text, or there twice, a score that is not finite, byte pieces other than
// all 256 with the fallback and none without. Unimplemented: an algorithm or a denormaliser that is
// not known here.
absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(absl::string_view bytes);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_SENTENCE_PIECE_MODEL_H_
