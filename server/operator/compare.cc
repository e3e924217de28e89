#include "server/operator/compare.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/cli/format.h"
#include "common/status_macros.h"
#include "simulator/report/comparison.h"
#include "simulator/report/report.h"

namespace tributary::op {
namespace {

using cli::FormatBytes;
using cli::FormatPercent;
using cli::FormatTable;

using nlohmann::json;

using Rows = std::vector<std::vector<std::string>>;
using Formatter = std::function<std::string(double)>;

std::string Integer(double value) { return absl::StrFormat("%.0f", value); }
std::string OneDigit(double value) { return absl::StrFormat("%.1f", value); }
std::string FourDigits(double value) { return absl::StrFormat("%.4f", value); }

// A figure, or a group's "median (min..max)"; "-" for what is not there.
std::string Text(const json& value, const Formatter& format) {
  if (value.is_number()) return format(value.get<double>());
  if (!value.is_object()) return "-";
  const json &min = value["min"], &median = value["median"], &max = value["max"];
  if (min == max) return Text(median, format);
  return absl::StrCat(Text(median, format), " (", Text(min, format), "..", Text(max, format), ")");
}

// The figure `key` of an entry, and its ratio to the first entry.
std::string WithRatio(const json& entry, const std::string& key, const Formatter& format) {
  const std::string text = Text(entry[key], format);
  const json& ratio = entry[key + "_ratio"];
  return ratio.is_null() ? text : absl::StrFormat("%s (x%.2f)", text, ratio.get<double>());
}

std::vector<std::string> Figures(const json& entry) {
  return {Text(entry["accuracy"], FormatPercent),
          Text(entry["best_accuracy"], FormatPercent),
          Text(entry["average_accuracy"], FormatPercent),
          Text(entry["forgetting"], FormatPercent),
          Text(entry["loss"], FourDigits),
          Text(entry["versions"], Integer),
          Text(entry["updates"], Integer),
          WithRatio(entry, "seconds", OneDigit),
          WithRatio(entry, "uplink_bytes", FormatBytes)};
}

void AddRow(Rows& rows, std::vector<std::string> head, const std::vector<std::string>& figures) {
  head.insert(head.end(), figures.begin(), figures.end());
  rows.push_back(std::move(head));
}

const std::vector<std::string> kFigureHeads = {
    "ACCURACY", "BEST", "AVERAGE", "FORGOTTEN", "LOSS", "VERSIONS", "UPDATES", "SECONDS", "UPLINK"};

std::string RunsTable(const json& runs) {
  Rows rows;
  AddRow(rows, {"RUN"}, kFigureHeads);
  for (const json& run : runs) AddRow(rows, {run["dir"]}, Figures(run));
  return FormatTable(rows);
}

std::string GroupsTable(const json& groups) {
  Rows rows;
  AddRow(rows, {"MEDIAN (RANGE)", "RUNS"}, kFigureHeads);
  for (const json& group : groups) {
    AddRow(rows, {group["label"], absl::StrCat(group["dirs"].size())}, Figures(group));
  }
  return FormatTable(rows);
}

std::vector<std::string> FirstTime(const json& entry) {
  const json& version = entry["version"];
  const bool reached = !version.is_null() && !(version.is_object() && version["median"].is_null());
  return {reached ? WithRatio(entry, "version", Integer) : "never",
          WithRatio(entry, "seconds", OneDigit), WithRatio(entry, "uplink_bytes", FormatBytes)};
}

std::string TargetTable(const json& target, bool grouped) {
  Rows rows;
  const std::string title = absl::StrCat("TO ", Text(target["accuracy"], FormatPercent));
  if (!grouped) {
    rows.push_back({title, "VERSION", "SECONDS", "UPLINK"});
    for (const json& run : target["runs"]) AddRow(rows, {run["dir"]}, FirstTime(run));
    return FormatTable(rows);
  }
  rows.push_back({title, "REACHED", "VERSION", "SECONDS", "UPLINK"});
  for (const json& group : target["groups"]) {
    const std::string share =
        absl::StrCat(group["reached"].get<int64_t>(), " of ", group["of"].get<int64_t>());
    AddRow(rows, {group["label"], share}, FirstTime(group));
  }
  return FormatTable(rows);
}

void PrintTables(std::ostream& out, const json& comparison) {
  const json& groups = comparison["groups"];
  const bool grouped = groups.size() < comparison["runs"].size();
  out << RunsTable(comparison["runs"]);
  if (grouped) out << "\n" << GroupsTable(groups);
  for (const json& target : comparison["targets"]) out << "\n" << TargetTable(target, grouped);
}

absl::Status WriteComparison(const std::vector<std::string>& directories, const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const std::string html, report::ComparisonPage(directories));
  return report::WritePage(html, path);
}

}  // namespace

ExitCode CompareRuns(const Console& console, const std::vector<std::string>& directories,
                     const std::string& page) {
  const auto comparison = report::Compare(directories);
  if (!comparison.ok()) return console.Fail(comparison.status(), ExitCode::kFailed);
  if (console.json) {
    console.PrintJson(*comparison);
  } else {
    PrintTables(console.out, *comparison);
  }
  if (page.empty()) return ExitCode::kDone;
  const absl::Status written = WriteComparison(directories, page);
  if (!written.ok()) return console.Fail(written, ExitCode::kFailed);
  if (!console.json) console.out << "\npage: " << page << "\n";
  return ExitCode::kDone;
}

}  // namespace tributary::op
