// NodeBuilder: parse events -> Node, for the readers of YAML and JSON. Bounded: a tree
// deeper than kMaxDepth or a mapping that repeats a key is an error, after which every
// further event is ignored.
#ifndef TRIBUTARY_COMMON_CONFIG_NODE_BUILDER_H_
#define TRIBUTARY_COMMON_CONFIG_NODE_BUILDER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/node.h"

namespace tributary::config {

// Thread-compatible.
class NodeBuilder {
 public:
  void Begin(Node::Kind kind, const Position& position);  // kSequence or kMapping
  void End();
  void Key(std::string key, const Position& position);
  void Scalar(std::string text, bool quoted, const Position& position);
  void Null(const Position& position);  // takes the position of its key, if it has one

  // True where a mapping expects a key.
  bool wants_key() const;

  // Of the innermost mapping or list that is still open; nowhere at the root.
  Position innermost() const { return open_.empty() ? Position() : open_.back().node.position; }

  // The first error stays.
  void Fail(const Position& position, absl::string_view message);
  bool failed() const { return !status_.ok(); }

  // The root, a kNull node if there were no events; or the first error, InvalidArgument.
  absl::StatusOr<Node> Finish() &&;

 private:
  struct Open {
    Node node;
    absl::flat_hash_map<std::string, int> lines;  // of the keys seen
    bool has_key = false;                         // the last member waits for its value
  };

  void Put(Node node);

  Node root_;
  std::vector<Open> open_;
  absl::Status status_;
};

}  // namespace tributary::config

#endif  // TRIBUTARY_COMMON_CONFIG_NODE_BUILDER_H_
