#include "simulator/report/run_groups.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/json_fields.h"
#include "simulator/report/run_history.h"

namespace tributary::report {
namespace {

using Json = nlohmann::json;

// What has to be equal, and what has to differ.
struct Identity {
  std::string experiment;
  std::string seed;
};

// A section of the first line without its seed, which goes to `seed`.
Json TakeSection(const Json& header, const char* name, std::string& seed) {
  Json section = header.value(name, Json::object());
  const auto it = section.find("seed");
  if (it == section.end()) return section;
  seed = it->dump();
  section.erase(it);
  return section;
}

absl::StatusOr<Identity> IdentityOf(const std::string& dir) {
  const auto header = ReadHistoryHeader(absl::StrCat(dir, "/events.jsonl"));
  if (absl::IsNotFound(header.status())) return Identity{.experiment = dir, .seed = ""};
  if (!header.ok()) return header.status();
  Identity identity;
  const Json sections = {TakeSection(*header, "simulation", identity.seed),
                         TakeSection(*header, "job", identity.seed)};
  identity.experiment = sections.dump();
  return identity;
}

}  // namespace

absl::StatusOr<std::vector<RunGroup>> GroupRuns(absl::Span<const std::string> dirs) {
  std::vector<RunGroup> groups;
  std::map<std::pair<std::string, int>, size_t> known;  // (experiment, world) -> group
  std::map<std::pair<std::string, std::string>, int> worlds;
  std::map<std::string, int> uses;  // of a label
  for (size_t i = 0; i < dirs.size(); ++i) {
    TRIB_ASSIGN_OR_RETURN(const Json summary,
                          ReadJsonObject(absl::StrCat(dirs[i], "/summary.json")));
    TRIB_ASSIGN_OR_RETURN(const Identity identity, IdentityOf(dirs[i]));
    const int world = worlds[{identity.experiment, identity.seed}]++;
    const auto [it, added] = known.try_emplace({identity.experiment, world}, groups.size());
    if (added) {
      const auto name = summary.find("name");
      const std::string label =
          name != summary.end() && name->is_string() ? name->get<std::string>() : dirs[i];
      ++uses[label];
      groups.push_back({.label = label, .runs = {}});
    }
    groups[it->second].runs.push_back(i);
  }
  for (RunGroup& group : groups) {
    if (uses[group.label] > 1) group.label = dirs[group.runs[0]];
  }
  return groups;
}

}  // namespace tributary::report
