// Text files -> examples for language models: windows of tokens, packed one after the other.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_TEXT_READER_H_
#define TRIBUTARY_CLIENT_SDK_DATA_TEXT_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client_sdk/data/dataset.h"
#include "client_sdk/data/tokenizer.h"

namespace tributary {

enum class TextOwner { kFile, kSpeaker };

struct OwnedText {
  std::string owner;  // the file's path below the folder, or the speaker's name
  std::string text;
};

// The text of a file, plain or gzip, or of all files below a folder but hidden ones, by owner, the
// owners sorted. With kSpeaker the text is a play: a paragraph whose first line is "NAME:" is what
// NAME says, other paragraphs are nobody's and left out. Errors as readers.h; InvalidArgument: no
// text, or nobody speaks.
absl::StatusOr<std::vector<OwnedText>> ReadTexts(const std::string& path, TextOwner owner);

// Windows of `context` + 1 tokens; each begins with the last token of the one before, so that every
// token but an owner's first is predicted once. What is left at an owner's end is dropped, so is an
// owner with fewer tokens than a window. InvalidArgument: no window at all, text that the tokenizer
// refuses (naming the owner).
absl::StatusOr<Dataset> PackWindows(absl::Span<const OwnedText> texts, const Tokenizer& tokenizer,
                                    int64_t context);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_TEXT_READER_H_
