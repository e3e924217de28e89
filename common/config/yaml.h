// YAML text -> config::Node with positions, over yaml-cpp. A mapping that repeats a key,
// an anchor or alias, and a second document are errors.
#ifndef TRIBUTARY_COMMON_CONFIG_YAML_H_
#define TRIBUTARY_COMMON_CONFIG_YAML_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/node.h"

namespace tributary::config {

// `name` is what error positions call the text. InvalidArgument with line and column.
absl::StatusOr<Node> ParseYaml(absl::string_view text, absl::string_view name);

// NotFound if there is no such file, FailedPrecondition if it cannot be read.
absl::StatusOr<Node> ReadYamlFile(const std::string& path);

}  // namespace tributary::config

#endif  // TRIBUTARY_COMMON_CONFIG_YAML_H_
