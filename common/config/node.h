// Node: a parsed configuration value that remembers where it stands in its file.
//
// YAML (config/yaml.h) and canonical JSON (NodeFromJson) both become Nodes; schemas
// (config/schema.h) turn Nodes into option structs.
#ifndef TRIBUTARY_COMMON_CONFIG_NODE_H_
#define TRIBUTARY_COMMON_CONFIG_NODE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tributary::config {

struct Position {
  std::shared_ptr<const std::string> file;  // null: no file (JSON from the wire, --set)
  int line = 0;                             // from 1; 0: unknown
  int column = 0;                           // from 1, in bytes
  std::string ToString() const;             // "job.yaml:12:5", or "" when unknown
};

struct Node {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  struct Member;

  Kind kind = Kind::kNull;
  Position position;
  std::string scalar;           // kScalar: the text
  bool quoted = false;          // kScalar: written in quotes, so never a number or bool
  std::vector<Node> items;      // kSequence
  std::vector<Member> members;  // kMapping, in file order

  const Node* Find(absl::string_view key) const;  // kMapping; nullptr if absent
  absl::string_view KindName() const;             // "a mapping", "a list", "a value", "nothing"
  std::string Shown() const;  // for errors: 1.5, 'ten', "10" (was quoted), a list, nothing

  // A plain scalar by YAML 1.2's core rules; numbers in decimal only. Absent: not one.
  std::optional<bool> AsBool() const;
  std::optional<int64_t> AsInt() const;    // digits only, within int64
  std::optional<double> AsDouble() const;  // finite; integers too
};

struct Node::Member {
  std::string key;
  Position position;  // of the key
  Node value;
};

Node NodeFromJson(const nlohmann::json& json);
// Takes hostile text. InvalidArgument: not JSON, a repeated key, or deeper than kMaxDepth.
absl::StatusOr<Node> NodeFromJsonText(absl::string_view text);
// Scalars become what AsBool, AsInt, AsDouble (in this order) make of them, else strings.
nlohmann::json ToJson(const Node& node);

inline constexpr int kMaxDepth = 64;  // of mappings and lists within one another

// Sets `path` ("job.scheduler.sync_round.clients_per_round", list items by index) to the
// value, creating mappings on the way. For --set path=value; the value is parsed by the caller.
absl::Status SetPath(Node& root, absl::string_view path, Node value);

// Where the value at `path` stands, or the innermost mapping on the way to it that is there.
Position PositionAt(const Node& root, absl::string_view path);

// Every problem of a file, not just the first. Of more than a hundred, the rest is only
// counted.
class Errors {
 public:
  // `path` is the field, "job.stop.versions"; the line reads
  //   job.yaml:12:5: job.stop.versions: out of range, found 0; allowed: an integer from 1
  void Add(const Position& position, absl::string_view path, absl::string_view message);

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  const std::vector<std::string>& lines() const { return lines_; }
  // OK when empty, else InvalidArgument with one line per error.
  absl::Status ToStatus() const;

 private:
  size_t count_ = 0;
  std::vector<std::string> lines_;
};

// "; did you mean 'clients_per_round'?" when a known name is within a small edit distance
// of `name` (a third of its length, at most 2; case and '-' for '_' cost nothing), else "".
std::string Suggest(absl::string_view name, const std::vector<std::string>& known);

}  // namespace tributary::config

#endif  // TRIBUTARY_COMMON_CONFIG_NODE_H_
