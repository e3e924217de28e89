#include "common/config/node.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/config/node_builder.h"

namespace tributary::config {
namespace {

constexpr size_t kMaxErrorLines = 100;
constexpr size_t kMaxShown = 60;

// [-+]? (\.[0-9]+ | [0-9]+(\.[0-9]*)?) ([eE][-+]?[0-9]+)?, YAML 1.2 section 10.3.2.
bool IsNumber(absl::string_view text, bool integer_only) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t start = i;
    while (i < text.size() && absl::ascii_isdigit(text[i])) ++i;
    return i - start;
  };
  const auto sign = [&] { i += i < text.size() && (text[i] == '-' || text[i] == '+') ? 1 : 0; };
  sign();
  const size_t whole = digits();
  if (integer_only) return whole > 0 && i == text.size();
  size_t fraction = 0;
  if (i < text.size() && text[i] == '.') ++i, fraction = digits();
  if (whole + fraction == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    sign();
    if (digits() == 0) return false;
  }
  return i == text.size();
}

// Builds a Node while nlohmann's parser runs: no intermediate tree, keys seen one by one.
class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return builder_.Null({}), Go(); }
  bool boolean(bool v) override { return builder_.Scalar(v ? "true" : "false", false, {}), Go(); }
  bool number_integer(int64_t v) override {
    return builder_.Scalar(absl::StrCat(v), false, {}), Go();
  }
  bool number_unsigned(uint64_t v) override {
    return builder_.Scalar(absl::StrCat(v), false, {}), Go();
  }
  bool number_float(double, const std::string& text) override {
    return builder_.Scalar(text, false, {}), Go();
  }
  bool string(std::string& v) override { return builder_.Scalar(std::move(v), true, {}), Go(); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return builder_.Begin(Node::Kind::kMapping, {}), Go(); }
  bool key(std::string& v) override { return builder_.Key(std::move(v), {}), Go(); }
  bool end_object() override { return builder_.End(), Go(); }
  bool start_array(size_t) override { return builder_.Begin(Node::Kind::kSequence, {}), Go(); }
  bool end_array() override { return builder_.End(), Go(); }
  bool parse_error(size_t at, const std::string&, const nlohmann::json::exception&) override {
    builder_.Fail({}, absl::StrCat("not valid JSON at byte ", at));
    return false;
  }

  absl::StatusOr<Node> Finish() && { return std::move(builder_).Finish(); }

 private:
  bool Go() const { return !builder_.failed(); }
  NodeBuilder builder_;
};

std::string Normalised(absl::string_view name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"-", "_"}});
}

// Damerau-Levenshtein distance, optimal string alignment: insert, delete, replace, swap neighbours.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

absl::Status NotThere(absl::string_view path, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", message));
}

}  // namespace

std::string Position::ToString() const {
  if (file == nullptr) return "";
  if (line == 0) return *file;
  return absl::StrCat(*file, ":", line, ":", column);
}

const Node* Node::Find(absl::string_view key) const {
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

absl::string_view Node::KindName() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "a value";
    case Kind::kSequence:
      return "a list";
    case Kind::kMapping:
      return "a mapping";
  }
  return "";
}

std::string Node::Shown() const {
  if (kind != Kind::kScalar) return std::string(KindName());
  if (!quoted && (IsNumber(scalar, false) || AsBool())) return scalar.substr(0, kMaxShown);
  size_t end = std::min(scalar.size(), kMaxShown);
  while (end < scalar.size() && (scalar[end] & 0xC0) == 0x80) --end;  // whole characters
  const char* const quote = quoted ? "\"" : "'";
  return absl::StrCat(quote, absl::Utf8SafeCEscape(absl::string_view(scalar).substr(0, end)),
                      end < scalar.size() ? "…" : "", quote);
}

std::optional<bool> Node::AsBool() const {
  if (kind != Kind::kScalar || quoted) return std::nullopt;
  if (scalar == "true" || scalar == "True" || scalar == "TRUE") return true;
  if (scalar == "false" || scalar == "False" || scalar == "FALSE") return false;
  return std::nullopt;
}

std::optional<int64_t> Node::AsInt() const {
  int64_t value = 0;
  if (kind != Kind::kScalar || quoted || !IsNumber(scalar, true)) return std::nullopt;
  if (!absl::SimpleAtoi(scalar, &value)) return std::nullopt;
  return value;
}

std::optional<double> Node::AsDouble() const {
  double value = 0;
  if (kind != Kind::kScalar || quoted || !IsNumber(scalar, false)) return std::nullopt;
  if (!absl::SimpleAtod(scalar, &value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

Node NodeFromJson(const nlohmann::json& json) {
  Node node;
  if (json.is_object()) {
    node.kind = Node::Kind::kMapping;
    for (const auto& [key, value] : json.items()) {
      node.members.push_back({key, {}, NodeFromJson(value)});
    }
  } else if (json.is_array()) {
    node.kind = Node::Kind::kSequence;
    for (const nlohmann::json& item : json) node.items.push_back(NodeFromJson(item));
  } else if (!json.is_null()) {
    node.kind = Node::Kind::kScalar;
    node.quoted = json.is_string();
    node.scalar = json.is_string() ? json.get<std::string>() : json.dump();
  }
  return node;
}

absl::StatusOr<Node> NodeFromJsonText(absl::string_view text) {
  JsonEvents events;
  nlohmann::json::sax_parse(text.begin(), text.end(), &events);
  return std::move(events).Finish();
}

nlohmann::json ToJson(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return nullptr;
    case Node::Kind::kScalar:
      if (const auto value = node.AsBool()) return *value;
      if (const auto value = node.AsInt()) return *value;
      if (const auto value = node.AsDouble()) return *value;
      return node.scalar;
    case Node::Kind::kSequence: {
      nlohmann::json list = nlohmann::json::array();
      for (const Node& item : node.items) list.push_back(ToJson(item));
      return list;
    }
    case Node::Kind::kMapping: {
      nlohmann::json object = nlohmann::json::object();
      for (const Node::Member& member : node.members) object[member.key] = ToJson(member.value);
      return object;
    }
  }
  return nullptr;
}

absl::Status SetPath(Node& root, absl::string_view path, Node value) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  if (static_cast<int>(names.size()) > kMaxDepth) return NotThere(path, "too deep");
  Node* node = &root;
  for (size_t depth = 0; depth < names.size(); ++depth) {
    const std::string& name = names[depth];
    if (name.empty()) return NotThere(path, "an empty name in the path");
    if (node->kind == Node::Kind::kNull) {
      node->kind = Node::Kind::kMapping;
      node->position = value.position;
    }
    if (node->kind == Node::Kind::kSequence) {
      size_t index = 0;
      if (!absl::SimpleAtoi(name, &index) || index >= node->items.size()) {
        return NotThere(path, absl::StrCat("no item '", name, "' in a list of ", node->items.size(),
                                           "; the first is 0"));
      }
      node = &node->items[index];
    } else if (node->kind == Node::Kind::kMapping) {
      const auto member = std::find_if(node->members.begin(), node->members.end(),
                                       [&](const Node::Member& m) { return m.key == name; });
      if (member == node->members.end()) {
        node->members.push_back({name, value.position, Node()});
        node = &node->members.back().value;
      } else {
        node = &member->value;
      }
    } else {
      const auto above = absl::MakeConstSpan(names).subspan(0, depth);
      return NotThere(path, absl::StrCat(absl::StrJoin(above, "."), " is ", node->Shown(),
                                         ", not a mapping or a list"));
    }
  }
  *node = std::move(value);
  return absl::OkStatus();
}

Position PositionAt(const Node& root, absl::string_view path) {
  const Node* node = &root;
  Position position = root.position;
  for (const absl::string_view name : absl::StrSplit(path, '.')) {
    node = node->Find(name);
    if (node == nullptr) break;
    position = node->position;
  }
  return position;
}

void Errors::Add(const Position& position, absl::string_view path, absl::string_view message) {
  if (++count_ > kMaxErrorLines) return;
  std::string line = position.ToString();
  for (const absl::string_view part : {path, message}) {
    if (!part.empty()) absl::StrAppend(&line, line.empty() ? "" : ": ", part);
  }
  lines_.push_back(std::move(line));
}

absl::Status Errors::ToStatus() const {
  if (empty()) return absl::OkStatus();
  std::string text = absl::StrJoin(lines_, "\n");
  if (count_ > lines_.size()) {
    absl::StrAppend(&text, "\nand ", count_ - lines_.size(), " more errors");
  }
  return absl::InvalidArgumentError(text);
}

std::string Suggest(absl::string_view name, const std::vector<std::string>& known) {
  const std::string wanted = Normalised(name);
  if (wanted.size() > kMaxShown) return "";
  size_t best = std::min<size_t>(2, wanted.size() / 3) + 1;
  const std::string* nearest = nullptr;
  for (const std::string& candidate : known) {
    const size_t distance = EditDistance(wanted, Normalised(candidate));
    if (distance < best) {
      best = distance;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? "" : absl::StrCat("; did you mean '", *nearest, "'?");
}

}  // namespace tributary::config
