#include "client_sdk/data/text_reader.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/data/readers.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

namespace fs = std::filesystem;

// The files to read, sorted: `path` itself, or those below it.
absl::StatusOr<std::vector<fs::path>> FilesOf(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<fs::path>{path};
  std::vector<fs::path> files;
  fs::recursive_directory_iterator entry(path, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const bool hidden = absl::StartsWith(entry->path().filename().string(), ".");
    if (hidden && entry->is_directory(error)) entry.disable_recursion_pending();
    if (!hidden && entry->is_regular_file(error)) files.push_back(entry->path());
  }
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": cannot be read: ", error.message()));
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": a folder without a file"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Adds what each speaker of the play says, with a line's end after each line.
void AddSpeeches(absl::string_view play, std::map<std::string, std::string>& by_speaker) {
  std::string* speech = nullptr;  // null: nobody's paragraph
  bool paragraph_begins = true;
  for (absl::string_view line : absl::StrSplit(play, '\n')) {
    line = absl::StripTrailingAsciiWhitespace(line);
    if (line.empty()) {
      paragraph_begins = true;
      speech = nullptr;
    } else if (std::exchange(paragraph_begins, false)) {
      if (absl::ConsumeSuffix(&line, ":") && !line.empty()) {
        speech = &by_speaker[std::string(line)];
      }
    } else if (speech != nullptr) {
      absl::StrAppend(speech, line, "\n");
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<OwnedText>> ReadTexts(const std::string& path, TextOwner owner) {
  TRIB_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesOf(path));
  std::map<std::string, std::string> by_owner;
  int64_t left = kMaxDatasetBytes;
  for (const fs::path& file : files) {
    TRIB_ASSIGN_OR_RETURN(std::string text, ReadFileBytes(file.string(), left));
    left -= std::ssize(text);
    if (owner == TextOwner::kSpeaker) {
      AddSpeeches(text, by_owner);
    } else {
      by_owner[file.lexically_relative(path).string()] = std::move(text);
    }
  }
  if (by_owner.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": no paragraph begins with a line \"NAME:\", so nobody speaks; `owner: file` takes "
        "any text"));
  }
  std::vector<OwnedText> texts;
  texts.reserve(by_owner.size());
  for (auto& [name, text] : by_owner) texts.push_back({name, std::move(text)});
  return texts;
}

absl::StatusOr<Dataset> PackWindows(absl::Span<const OwnedText> texts, const Tokenizer& tokenizer,
                                    int64_t context) {
  Dataset data;
  data.example_shape = {context};
  data.num_classes = tokenizer.vocabulary();
  data.num_clients = static_cast<int32_t>(texts.size());
  size_t longest = 0;
  for (size_t owner = 0; owner < texts.size(); ++owner) {
    data.client_names.push_back(texts[owner].owner);
    const auto tokens = tokenizer.Encode(texts[owner].text);
    if (!tokens.ok()) return WithContext(tokens.status(), texts[owner].owner);
    longest = std::max(longest, tokens->size());
    for (auto begin = tokens->begin(); tokens->end() - begin > context; begin += context) {
      data.tokens.insert(data.tokens.end(), begin, begin + context + 1);
      data.client_ids.push_back(static_cast<int32_t>(owner));
    }
  }
  if (data.tokens.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("context is ", context, ", and the longest text has ", longest,
                     " tokens; an example takes one more than the context"));
  }
  return data;
}

}  // namespace tributary
