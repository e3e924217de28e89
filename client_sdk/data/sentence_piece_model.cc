#include "client_sdk/data/sentence_piece_model.h"

#include <bit>
#include <cmath>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

using Algorithm = SentencePieceModel::Algorithm;
using Kind = SentencePieceModel::Kind;

// A field of a protobuf message: https://protobuf.dev/programming-guides/encoding
struct Field {
  enum Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint64_t number = 0;
  Wire wire = kVarint;
  uint64_t value = 0;       // unless kBytes
  absl::string_view bytes;  // if kBytes
};

absl::Status Truncated() { return absl::InvalidArgumentError("the file ends within a field"); }

absl::StatusOr<uint64_t> TakeVarint(absl::string_view& message) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (message.empty()) return Truncated();
    const auto byte = static_cast<uint8_t>(message.front());
    message.remove_prefix(1);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
  return absl::InvalidArgumentError("a number has more than ten bytes");
}

absl::StatusOr<uint64_t> TakeFixed(absl::string_view& message, size_t size) {
  if (message.size() < size) return Truncated();
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(message[i]);
  message.remove_prefix(size);
  return value;
}

absl::StatusOr<Field> TakeField(absl::string_view& message) {
  TRIB_ASSIGN_OR_RETURN(const uint64_t tag, TakeVarint(message));
  Field field = {.number = tag >> 3, .wire = static_cast<Field::Wire>(tag & 7), .bytes = {}};
  switch (field.wire) {
    case Field::kVarint: {
      TRIB_ASSIGN_OR_RETURN(field.value, TakeVarint(message));
      return field;
    }
    case Field::kFixed64: {
      TRIB_ASSIGN_OR_RETURN(field.value, TakeFixed(message, 8));
      return field;
    }
    case Field::kFixed32: {
      TRIB_ASSIGN_OR_RETURN(field.value, TakeFixed(message, 4));
      return field;
    }
    case Field::kBytes: {
      TRIB_ASSIGN_OR_RETURN(const uint64_t size, TakeVarint(message));
      if (size > message.size()) return Truncated();
      field.bytes = message.substr(0, size);
      message.remove_prefix(size);
      return field;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("a field has the wire type ", tag & 7));
}

// Hands `read` every field of a message in turn.
template <typename Read>
absl::Status ForEachField(absl::string_view message, Read read) {
  while (!message.empty()) {
    TRIB_ASSIGN_OR_RETURN(const Field field, TakeField(message));
    TRIB_RETURN_IF_ERROR(read(field));
  }
  return absl::OkStatus();
}

// A known field is of the type that the model's schema gives it.
absl::Status CheckWire(const Field& field, Field::Wire expected) {
  if (field.wire == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("field ", field.number, " has the wire type ",
                                                 field.wire, "; expected ", expected));
}

absl::Status Read(const Field& field, std::string& value) {
  TRIB_RETURN_IF_ERROR(CheckWire(field, Field::kBytes));
  value = std::string(field.bytes);
  return absl::OkStatus();
}

absl::Status Read(const Field& field, bool& value) {
  value = field.value != 0;
  return CheckWire(field, Field::kVarint);
}

absl::Status Read(const Field& field, float& value) {
  value = std::bit_cast<float>(static_cast<uint32_t>(field.value));
  return CheckWire(field, Field::kFixed32);
}

// An enum from 1 to `last`.
template <typename Enum>
absl::Status Read(const Field& field, absl::string_view name, Enum last, Enum& value) {
  TRIB_RETURN_IF_ERROR(CheckWire(field, Field::kVarint));
  if (field.value < 1 || field.value > static_cast<uint64_t>(last)) {
    return absl::UnimplementedError(
        absl::StrCat(name, " is ", field.value, "; allowed: 1 to ", static_cast<uint64_t>(last)));
  }
  value = static_cast<Enum>(field.value);
  return absl::OkStatus();
}

absl::Status ReadPiece(absl::string_view message, SentencePieceModel::Piece& piece) {
  return ForEachField(message, [&piece](const Field& field) {
    switch (field.number) {
      case 1:
        return Read(field, piece.text);
      case 2:
        return Read(field, piece.score);
      case 3:
        return Read(field, "type", Kind::kByte, piece.kind);
    }
    return absl::OkStatus();
  });
}

absl::Status ReadTrainer(absl::string_view message, SentencePieceModel& model) {
  return ForEachField(message, [&model](const Field& field) {
    switch (field.number) {
      case 3:
        return Read(field, "model_type (unigram, bpe)", Algorithm::kBytePairs, model.algorithm);
      case 24:
        return Read(field, model.whitespace_is_suffix);
      case 35:
        return Read(field, model.byte_fallback);
      case 44:
        return Read(field, model.unknown_surface);
    }
    return absl::OkStatus();
  });
}

absl::Status ReadNormalizer(absl::string_view message, SentencePieceModel& model) {
  return ForEachField(message, [&model](const Field& field) {
    switch (field.number) {
      case 2:
        return Read(field, model.charsmap);
      case 3:
        return Read(field, model.add_dummy_prefix);
      case 4:
        return Read(field, model.remove_extra_whitespaces);
      case 5:
        return Read(field, model.escape_whitespaces);
    }
    return absl::OkStatus();
  });
}

absl::Status ReadDenormalizer(absl::string_view message) {
  return ForEachField(message, [](const Field& field) -> absl::Status {
    if (field.number != 2 || field.bytes.empty()) return absl::OkStatus();
    return absl::UnimplementedError("a denormalizer with rules; none is known here");
  });
}

absl::Status ReadModel(absl::string_view bytes, SentencePieceModel& model) {
  return ForEachField(bytes, [&model](const Field& field) {
    if (field.number < 1 || field.number > 5 || field.number == 4) return absl::OkStatus();
    TRIB_RETURN_IF_ERROR(CheckWire(field, Field::kBytes));
    switch (field.number) {
      case 1:
        return ReadPiece(field.bytes, model.pieces.emplace_back());
      case 2:
        return ReadTrainer(field.bytes, model);
      case 3:
        return ReadNormalizer(field.bytes, model);
      default:
        return ReadDenormalizer(field.bytes);
    }
  });
}

absl::Status CheckByte(const SentencePieceModel& model, const SentencePieceModel::Piece& piece,
                       std::set<std::string>& bytes) {
  unsigned value = 0;
  if (!model.byte_fallback) {
    return absl::InvalidArgumentError("it stands for a byte, and byte_fallback is false");
  }
  const bool well_formed = piece.text.size() == 6 &&
                           absl::SimpleHexAtoi(piece.text.substr(3, 2), &value) &&
                           piece.text == absl::StrFormat("<0x%02X>", value);
  if (!well_formed) return absl::InvalidArgumentError("it is a byte's; expected <0x00> to <0xFF>");
  bytes.insert(piece.text);
  return absl::OkStatus();
}

absl::Status Check(const SentencePieceModel& model) {
  std::set<std::pair<bool, absl::string_view>> seen;  // those that text is made of, and others
  std::set<std::string> bytes;
  int unknown = 0;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePieceModel::Piece& piece = model.pieces[i];
    absl::Status status;
    if (piece.text.empty()) status = absl::InvalidArgumentError("it has no text");
    if (!std::isfinite(piece.score)) status = absl::InvalidArgumentError("its score is not finite");
    if (!seen.emplace(IsText(piece.kind), piece.text).second) {
      status = absl::InvalidArgumentError("it is there twice");
    }
    if (piece.kind == Kind::kUnknown && ++unknown > 1) {
      status = absl::InvalidArgumentError("it is the second unknown piece; allowed: one");
    }
    if (piece.kind == Kind::kByte) status.Update(CheckByte(model, piece, bytes));
    if (!status.ok()) {
      return WithContext(status,
                         absl::StrCat("piece ", i, " '", absl::Utf8SafeCEscape(piece.text), "'"));
    }
  }
  if (unknown == 0) return absl::InvalidArgumentError("it has no unknown piece");
  if (model.byte_fallback && bytes.size() != 256) {
    return absl::InvalidArgumentError(absl::StrCat("byte_fallback is true, and ", bytes.size(),
                                                   " bytes have a piece; expected all 256"));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsText(Kind kind) {
  return kind == Kind::kNormal || kind == Kind::kUserDefined || kind == Kind::kUnused;
}

absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(absl::string_view bytes) {
  SentencePieceModel model;
  absl::Status status = ReadModel(bytes, model);
  if (status.ok()) status = Check(model);
  if (!status.ok()) return WithContext(status, "not a SentencePiece model");
  return model;
}

}  // namespace tributary
