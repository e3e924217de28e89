// Node: a parsed configuration value that remembers where it stands in its file.
//
// YAML (config/yaml.h) and canonical JSON (NodeFromJson) both become Nodes; schemas
// (config/schema.h) turn Nodes into option structs.
#ifndef TRIBUTARY_COMMON_CONFIG_NODE_H_
#define TRIBUTARY_COMMON_CONFIG_NODE_H_

#include <memory>
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
  int column = 0;                           // from 1
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
};

struct Node::Member {
  std::string key;
  Position position;  // of the key
  Node value;
};

Node NodeFromJson(const nlohmann::json& json);
absl::StatusOr<Node> NodeFromJsonText(absl::string_view text);
// Numbers and bools are recognised by YAML 1.2's core rules unless quoted.
nlohmann::json ToJson(const Node& node);

// Sets `path` ("job.scheduler.sync_round.clients_per_round", list items by index) to the
// value, creating mappings on the way. For --set path=value; the value is parsed by the caller.
absl::Status SetPath(Node& root, absl::string_view path, Node value);

// Every problem of a file, not just the first.
class Errors {
 public:
  // `path` is the field, "job.stop.versions"; the line reads
  //   job.yaml:12:5: job.stop.versions: must be at least 1, found 0
  void Add(const Position& position, absl::string_view path, absl::string_view message);

  bool empty() const { return lines_.empty(); }
  size_t size() const { return lines_.size(); }
  const std::vector<std::string>& lines() const { return lines_; }
  // OK when empty, else InvalidArgument with one line per error.
  absl::Status ToStatus() const;

 private:
  std::vector<std::string> lines_;
};

// "; did you mean 'clients_per_round'?" when a known name is within a small edit
// distance of `name`, else "".
std::string Suggest(absl::string_view name, const std::vector<std::string>& known);

}  // namespace tributary::config

#endif  // TRIBUTARY_COMMON_CONFIG_NODE_H_
