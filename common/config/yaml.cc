#include "common/config/yaml.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config/node_builder.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/parser.h"

namespace tributary::config {
namespace {

constexpr size_t kMaxBytes = 16 << 20;

using File = std::shared_ptr<const std::string>;

absl::Status ErrorAt(const Position& position, absl::string_view message) {
  Errors errors;
  errors.Add(position, "", message);
  return errors.ToStatus();
}

// Bytes of the UTF-8 character at the start of `text`, 0 if it is none (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF).
size_t CharacterSize(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool outside = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || outside ? 0 : size;
}

// What yaml-cpp would let through or explain badly.
absl::Status CheckCharacters(absl::string_view text, const File& file) {
  Position at{file, 1, 1};
  bool indentation = true;
  for (size_t i = 0; i < text.size();) {
    const size_t size = CharacterSize(text.substr(i));
    if (size == 0) return ErrorAt(at, "not UTF-8 text");
    const char c = text[i];
    if ((c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == '\x7f') {
      return ErrorAt(at, absl::StrCat("a control character, code ", static_cast<int>(c)));
    }
    if (c == '\t' && indentation) {
      return ErrorAt(at, "a tab in the indentation; allowed: spaces");
    }
    indentation = c == '\n' || (indentation && c == ' ');
    at.column += static_cast<int>(size);
    if (c == '\n') at = {file, at.line + 1, 1};
    i += size;
  }
  return absl::OkStatus();
}

class Events : public YAML::EventHandler {
 public:
  explicit Events(File file) : file_(std::move(file)) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) builder_.Fail(At(mark), "a second document; allowed: one a file");
  }
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    builder_.Fail(At(mark), absl::StrCat("anchors are not allowed, found &", name));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    builder_.Fail(At(mark), "aliases are not allowed");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    if (!RefuseAsKey(mark, "nothing")) builder_.Null(At(mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    CheckTag(mark, tag);
    if (builder_.wants_key()) {
      builder_.Key(value, At(mark));
    } else {
      builder_.Scalar(value, tag == "!", At(mark));
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Begin(Node::Kind::kSequence, mark, tag, "a list");
  }
  void OnSequenceEnd() override { builder_.End(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Begin(Node::Kind::kMapping, mark, tag, "a mapping");
  }
  void OnMapEnd() override { builder_.End(); }

  // Where the parser gives no place, it is the innermost thing that was begun.
  void Fail(const YAML::Mark& mark, absl::string_view message) {
    Position position = mark.is_null() ? builder_.innermost() : At(mark);
    if (position.file == nullptr) position = {file_, 1, 1};
    builder_.Fail(position, message);
  }
  bool failed() const { return builder_.failed(); }
  absl::StatusOr<Node> Finish() && { return std::move(builder_).Finish(); }

 private:
  Position At(const YAML::Mark& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

  void Begin(Node::Kind kind, const YAML::Mark& mark, const std::string& tag,
             absl::string_view what) {
    CheckTag(mark, tag);
    if (!RefuseAsKey(mark, what)) builder_.Begin(kind, At(mark));
  }

  // "?" and "!" are the parser's marks for plain and quoted.
  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    builder_.Fail(At(mark), absl::StrCat("tags are not allowed, found ", tag));
  }

  bool RefuseAsKey(const YAML::Mark& mark, absl::string_view what) {
    if (!builder_.wants_key()) return false;
    builder_.Fail(At(mark), absl::StrCat("a key must be text, found ", what));
    return true;
  }

  const File file_;
  NodeBuilder builder_;
  int documents_ = 0;
};

}  // namespace

absl::StatusOr<Node> ParseYaml(absl::string_view text, absl::string_view name) {
  const auto file = std::make_shared<const std::string>(name);
  if (text.size() > kMaxBytes) {
    return ErrorAt({file}, absl::StrCat("too large; allowed: at most ", kMaxBytes, " bytes"));
  }
  if (absl::Status status = CheckCharacters(text, file); !status.ok()) return status;
  Events events(file);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (!events.failed() && parser.HandleNextDocument(events)) {
    }
  } catch (const YAML::Exception& e) {
    events.Fail(e.mark, absl::StrCat("not valid YAML: ", e.msg));
  } catch (const std::exception& e) {
    events.Fail(YAML::Mark::null_mark(), absl::StrCat("not readable as YAML: ", e.what()));
  }
  absl::StatusOr<Node> root = std::move(events).Finish();
  if (root.ok() && root->position.file == nullptr) root->position = {file, 1, 1};
  return root;
}

absl::StatusOr<Node> ReadYamlFile(const std::string& path) {
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    const int error = errno;
    const std::string message = absl::StrCat(path, ": cannot be opened: ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(message) : absl::FailedPreconditionError(message);
  }
  std::string text(kMaxBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad() || (stream.fail() && !stream.eof())) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": cannot be read"));
  }
  text.resize(static_cast<size_t>(stream.gcount()));
  return ParseYaml(text, path);
}

}  // namespace tributary::config
