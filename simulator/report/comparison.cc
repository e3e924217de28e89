#include "simulator/report/comparison.h"

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/figures_json.h"
#include "simulator/report/json_fields.h"
#include "simulator/report/run_groups.h"
#include "simulator/report/spread.h"

namespace tributary::report {
namespace {

using Json = nlohmann::json;

constexpr const char* kFigures[] = {
    "accuracy", "best_accuracy", "average_accuracy", "forgetting",   "loss",
    "versions", "updates",       "seconds",          "uplink_bytes", "downlink_bytes"};
constexpr const char* kCosts[] = {"versions", "seconds", "uplink_bytes", "downlink_bytes"};
constexpr const char* kFirstTimes[] = {"version", "seconds", "uplink_bytes"};

// The value at a JSON pointer if it is a number, else null.
Json NumberAt(const Json& summary, const char* pointer) {
  const Json::json_pointer at(pointer);
  return summary.contains(at) && summary.at(at).is_number() ? summary.at(at) : Json();
}

Json Seconds(const Json& object) {
  const Json seconds = NumberAt(object, "/virtual_seconds");
  return seconds.is_null() ? NumberAt(object, "/wall_seconds") : seconds;
}

const Json& TargetsOf(const Json& summary) {
  static const Json kNone = Json::array();
  const auto it = summary.find("targets");
  return it != summary.end() && it->is_array() ? *it : kNone;
}

absl::StatusOr<Json> ReadSummary(const std::string& dir) {
  const std::string path = absl::StrCat(dir, "/summary.json");
  auto summary = ReadJsonObject(path);
  if (absl::IsNotFound(summary.status())) {
    return absl::NotFoundError(
        absl::StrCat(path, ": no such file; is it a run's --out directory?"));
  }
  if (!summary.ok()) return summary.status();
  for (const char* key : {"/versions", "/final/accuracy"}) {
    if (NumberAt(*summary, key).is_null()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", key, " is missing or not a number"));
    }
  }
  return summary;
}

Json RunJson(const std::string& dir, const Json& summary) {
  const auto name = summary.find("name");
  return {{"dir", dir},
          {"name", name != summary.end() && name->is_string() ? *name : Json("")},
          {"seed", NumberAt(summary, "/seed")},
          {"accuracy", NumberAt(summary, "/final/accuracy")},
          {"loss", NumberAt(summary, "/final/loss")},
          {"best_accuracy", NumberAt(summary, "/best/accuracy")},
          {"average_accuracy", NumberAt(summary, "/tasks/average_accuracy")},
          {"forgetting", NumberAt(summary, "/tasks/forgetting")},
          {"versions", NumberAt(summary, "/versions")},
          {"updates", NumberAt(summary, "/updates")},
          {"seconds", Seconds(summary)},
          {"uplink_bytes", NumberAt(summary, "/uplink_bytes")},
          {"downlink_bytes", NumberAt(summary, "/downlink_bytes")}};
}

// A run's first time at `accuracy`; nulls if it never got there or does not list it.
Json FirstTime(const std::string& dir, const Json& summary, double accuracy) {
  Json reached = Json::object();
  for (const Json& target : TargetsOf(summary)) {
    if (NumberAt(target, "/accuracy") == accuracy) reached = target;
  }
  return {{"dir", dir},
          {"version", NumberAt(reached, "/version")},
          {"seconds", Seconds(reached)},
          {"uplink_bytes", NumberAt(reached, "/uplink_bytes")}};
}

Json Median(const Json& value) { return value.is_object() ? value["median"] : value; }

Json Ratio(const Json& value, const Json& base) {
  if (value.is_null() || base.is_null() || base.get<double>() == 0) return Json();
  return value.get<double>() / base.get<double>();
}

// Adds "<key>_ratio" to every entry of the list: to the first one.
void AddRatios(Json& list, absl::Span<const char* const> keys) {
  const Json first = list.front();
  for (Json& entry : list) {
    for (const std::string key : keys) {
      entry[key + "_ratio"] = Ratio(Median(entry[key]), Median(first[key]));
    }
  }
}

void AddAccuracyDifferences(Json& runs) {
  const double first = runs.front()["accuracy"].get<double>();
  for (Json& run : runs) run["accuracy_difference"] = run["accuracy"].get<double>() - first;
}

Spread SpreadOver(const RunGroup& group, const Json& runs, const char* key) {
  std::vector<std::optional<double>> values;
  for (const size_t i : group.runs) {
    const Json& value = runs[i][key];
    values.push_back(value.is_null() ? std::nullopt : std::optional(value.get<double>()));
  }
  return SpreadOf(values);
}

Json GroupsJson(const std::vector<RunGroup>& groups, const Json& runs) {
  Json list = Json::array();
  for (const RunGroup& group : groups) {
    Json entry = {{"label", group.label}, {"dirs", Json::array()}};
    for (const size_t i : group.runs) entry["dirs"].push_back(runs[i]["dir"]);
    for (const char* key : kFigures) entry[key] = SpreadJson(SpreadOver(group, runs, key));
    list.push_back(std::move(entry));
  }
  AddRatios(list, kCosts);
  return list;
}

Json TargetGroupsJson(const std::vector<RunGroup>& groups, const Json& runs) {
  Json list = Json::array();
  for (const RunGroup& group : groups) {
    Json entry = {{"label", group.label},
                  {"of", group.runs.size()},
                  {"reached", SpreadOver(group, runs, "version").known}};
    for (const char* key : kFirstTimes) entry[key] = SpreadJson(SpreadOver(group, runs, key));
    list.push_back(std::move(entry));
  }
  AddRatios(list, kFirstTimes);
  return list;
}

}  // namespace

absl::StatusOr<Json> Compare(absl::Span<const std::string> dirs) {
  std::vector<Json> summaries;
  std::set<double> accuracies;
  Json runs = Json::array();
  for (const std::string& dir : dirs) {
    TRIB_ASSIGN_OR_RETURN(Json summary, ReadSummary(dir));
    for (const Json& target : TargetsOf(summary)) {
      const Json accuracy = NumberAt(target, "/accuracy");
      if (!accuracy.is_null()) accuracies.insert(accuracy.get<double>());
    }
    runs.push_back(RunJson(dir, summary));
    summaries.push_back(std::move(summary));
  }
  TRIB_ASSIGN_OR_RETURN(const std::vector<RunGroup> groups, GroupRuns(dirs));
  AddAccuracyDifferences(runs);
  AddRatios(runs, kCosts);

  Json targets = Json::array();
  for (const double accuracy : accuracies) {
    Json reached = Json::array();
    for (size_t i = 0; i < dirs.size(); ++i) {
      reached.push_back(FirstTime(dirs[i], summaries[i], accuracy));
    }
    AddRatios(reached, kFirstTimes);
    Json by_group = TargetGroupsJson(groups, reached);
    targets.push_back(
        {{"accuracy", accuracy}, {"runs", std::move(reached)}, {"groups", std::move(by_group)}});
  }
  Json by_group = GroupsJson(groups, runs);
  return Json{
      {"runs", std::move(runs)}, {"groups", std::move(by_group)}, {"targets", std::move(targets)}};
}

}  // namespace tributary::report
