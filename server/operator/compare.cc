#include "server/operator/compare.h"

#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/cli/format.h"
#include "common/status_macros.h"

namespace tributary::op {
namespace {

using cli::FormatBytes;
using cli::FormatPercent;
using cli::FormatTable;

using nlohmann::json;

// The value at a JSON pointer if it is of a number, else null.
json NumberAt(const json& summary, const char* pointer) {
  const json::json_pointer at(pointer);
  return summary.contains(at) && summary.at(at).is_number() ? summary.at(at) : json();
}

json Seconds(const json& object) {
  const json seconds = NumberAt(object, "/virtual_seconds");
  return seconds.is_null() ? NumberAt(object, "/wall_seconds") : seconds;
}

json Ratio(const json& value, const json& base) {
  if (value.is_null() || base.is_null() || base.get<double>() == 0) return json();
  return value.get<double>() / base.get<double>();
}

json Difference(const json& value, const json& base) {
  if (value.is_null() || base.is_null()) return json();
  return value.get<double>() - base.get<double>();
}

absl::StatusOr<json> ReadSummary(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/summary.json");
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat(path, ": no such file; is it a run's --out directory?"));
  }
  json summary = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!summary.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  }
  for (const char* key : {"/versions", "/final/accuracy"}) {
    if (NumberAt(summary, key).is_null()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", key, " is missing or not a number"));
    }
  }
  return summary;
}

json Run(const std::string& directory, const json& summary) {
  return {{"dir", directory},
          {"name", summary.value("name", "")},
          {"accuracy", NumberAt(summary, "/final/accuracy")},
          {"loss", NumberAt(summary, "/final/loss")},
          {"best_accuracy", NumberAt(summary, "/best/accuracy")},
          {"versions", NumberAt(summary, "/versions")},
          {"updates", NumberAt(summary, "/updates")},
          {"seconds", Seconds(summary)},
          {"uplink_bytes", NumberAt(summary, "/uplink_bytes")},
          {"downlink_bytes", NumberAt(summary, "/downlink_bytes")}};
}

// A run's first time at `accuracy`; nulls if it never got there or does not list it.
json FirstTime(const std::string& directory, const json& summary, double accuracy) {
  json reached = json::object();
  for (const json& target : summary.value("targets", json::array())) {
    if (NumberAt(target, "/accuracy") == accuracy) reached = target;
  }
  return {{"dir", directory},
          {"version", NumberAt(reached, "/version")},
          {"seconds", Seconds(reached)},
          {"uplink_bytes", NumberAt(reached, "/uplink_bytes")}};
}

void AddRatios(json& runs, const std::vector<std::string>& keys) {
  const json first = runs.front();
  for (json& run : runs) {
    for (const std::string& key : keys) run[key + "_ratio"] = Ratio(run[key], first[key]);
  }
}

std::string Text(const json& value, int digits) {
  return value.is_null() ? "-" : absl::StrFormat("%.*f", digits, value.get<double>());
}

std::string Percent(const json& value) {
  return value.is_null() ? "-" : FormatPercent(value.get<double>());
}

std::string Integer(const json& value) { return value.is_null() ? "-" : value.dump(); }

std::string WithRatio(const std::string& text, const json& ratio) {
  return ratio.is_null() ? text : absl::StrFormat("%s (x%.2f)", text, ratio.get<double>());
}

std::string SecondsText(const json& run) {
  return WithRatio(Text(run["seconds"], 1), run["seconds_ratio"]);
}

std::string BytesText(const json& run) {
  const json& bytes = run["uplink_bytes"];
  return WithRatio(bytes.is_null() ? "-" : FormatBytes(bytes.get<double>()),
                   run["uplink_bytes_ratio"]);
}

std::string RunsTable(const json& runs) {
  std::vector<std::vector<std::string>> rows = {
      {"RUN", "ACCURACY", "BEST", "LOSS", "VERSIONS", "UPDATES", "SECONDS", "UPLINK"}};
  for (const json& run : runs) {
    rows.push_back({run["dir"], Percent(run["accuracy"]), Percent(run["best_accuracy"]),
                    Text(run["loss"], 4), Integer(run["versions"]), Integer(run["updates"]),
                    SecondsText(run), BytesText(run)});
  }
  return FormatTable(rows);
}

std::string TargetTable(const json& target) {
  std::vector<std::vector<std::string>> rows = {
      {absl::StrCat("TO ", Percent(target["accuracy"])), "VERSION", "SECONDS", "UPLINK"}};
  for (const json& run : target["runs"]) {
    const bool reached = !run["version"].is_null();
    rows.push_back({run["dir"],
                    reached ? WithRatio(Integer(run["version"]), run["version_ratio"]) : "never",
                    SecondsText(run), BytesText(run)});
  }
  return FormatTable(rows);
}

}  // namespace

absl::StatusOr<json> Compare(const std::vector<std::string>& directories) {
  std::vector<json> summaries;
  std::set<double> accuracies;
  json runs = json::array();
  for (const std::string& directory : directories) {
    TRIB_ASSIGN_OR_RETURN(json summary, ReadSummary(directory));
    for (const json& target : summary.value("targets", json::array())) {
      const json accuracy = NumberAt(target, "/accuracy");
      if (!accuracy.is_null()) accuracies.insert(accuracy.get<double>());
    }
    runs.push_back(Run(directory, summary));
    summaries.push_back(std::move(summary));
  }
  const json base = runs.front()["accuracy"];
  for (json& run : runs) run["accuracy_difference"] = Difference(run["accuracy"], base);
  AddRatios(runs, {"versions", "seconds", "uplink_bytes", "downlink_bytes"});

  json targets = json::array();
  for (const double accuracy : accuracies) {
    json reached = json::array();
    for (size_t i = 0; i < directories.size(); ++i) {
      reached.push_back(FirstTime(directories[i], summaries[i], accuracy));
    }
    AddRatios(reached, {"version", "seconds", "uplink_bytes"});
    targets.push_back({{"accuracy", accuracy}, {"runs", std::move(reached)}});
  }
  return json{{"runs", std::move(runs)}, {"targets", std::move(targets)}};
}

ExitCode CompareRuns(const Console& console, const std::vector<std::string>& directories) {
  const auto comparison = Compare(directories);
  if (!comparison.ok()) return console.Fail(comparison.status(), ExitCode::kFailed);
  if (console.json) {
    console.PrintJson(*comparison);
    return ExitCode::kDone;
  }
  console.out << RunsTable((*comparison)["runs"]);
  for (const json& target : (*comparison)["targets"]) console.out << "\n" << TargetTable(target);
  return ExitCode::kDone;
}

}  // namespace tributary::op
