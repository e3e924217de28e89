#include "client_sdk/connection.h"

namespace tributary::sdk {

absl::string_view WorkKindName(WorkKind kind) {
  switch (kind) {
    case WorkKind::kInitialise:
      return "initialise";
    case WorkKind::kTrain:
      return "train";
    case WorkKind::kEvaluate:
      return "evaluate";
    case WorkKind::kExplore:
      return "explore";
    case WorkKind::kSketch:
      return "sketch";
  }
  return "unknown";
}

}  // namespace tributary::sdk
