#include "common/config/node_builder.h"

#include "absl/strings/str_cat.h"

namespace tributary::config {

void NodeBuilder::Begin(Node::Kind kind, const Position& position) {
  if (failed()) return;
  if (static_cast<int>(open_.size()) >= kMaxDepth) {
    return Fail(position, absl::StrCat("too deep; allowed: ", kMaxDepth,
                                       " mappings and lists within one another"));
  }
  Open& open = open_.emplace_back();
  open.node.kind = kind;
  open.node.position = position;
}

void NodeBuilder::End() {
  if (failed()) return;
  Node node = std::move(open_.back().node);
  open_.pop_back();
  Put(std::move(node));
}

void NodeBuilder::Key(std::string key, const Position& position) {
  if (failed()) return;
  Open& open = open_.back();
  const auto [seen, is_new] = open.lines.emplace(key, position.line);
  if (!is_new) {
    const std::string first =
        seen->second > 0 ? absl::StrCat(", first at line ", seen->second) : "";
    return Fail(position, absl::StrCat("the key '", key, "' is given twice", first));
  }
  open.has_key = true;
  open.node.members.push_back({std::move(key), position, Node()});
}

void NodeBuilder::Scalar(std::string text, bool quoted, const Position& position) {
  Node node;
  node.kind = Node::Kind::kScalar;
  node.position = position;
  node.scalar = std::move(text);
  node.quoted = quoted;
  Put(std::move(node));
}

void NodeBuilder::Null(const Position& position) {
  if (failed()) return;
  Node node;
  const bool of_key = !open_.empty() && open_.back().has_key;
  node.position = of_key ? open_.back().node.members.back().position : position;
  Put(std::move(node));
}

bool NodeBuilder::wants_key() const {
  return !open_.empty() && open_.back().node.kind == Node::Kind::kMapping && !open_.back().has_key;
}

void NodeBuilder::Fail(const Position& position, absl::string_view message) {
  if (failed()) return;
  Errors errors;
  errors.Add(position, "", message);
  status_ = errors.ToStatus();
}

absl::StatusOr<Node> NodeBuilder::Finish() && {
  if (failed()) return status_;
  return std::move(root_);
}

void NodeBuilder::Put(Node node) {
  if (failed()) return;
  if (open_.empty()) {
    root_ = std::move(node);
  } else if (open_.back().node.kind == Node::Kind::kSequence) {
    open_.back().node.items.push_back(std::move(node));
  } else {
    open_.back().node.members.back().value = std::move(node);
    open_.back().has_key = false;
  }
}

}  // namespace tributary::config
