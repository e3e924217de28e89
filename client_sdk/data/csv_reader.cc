#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/data/readers.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// Records of RFC 4180: fields split by commas, quoted where they hold a comma, a quote
// (doubled) or a line break.
class CsvScanner {
 public:
  explicit CsvScanner(absl::string_view text) : text_(text) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") pos_ = 3;  // a byte-order mark
  }

  // False at the end of the text. Blank lines are skipped.
  absl::StatusOr<bool> Next(std::vector<std::string>& fields) {
    fields.clear();
    while (pos_ < text_.size() && (text_[pos_] == '\n' || text_[pos_] == '\r')) Take();
    if (pos_ == text_.size()) return false;
    row_ = line_;
    while (true) {
      TRIB_RETURN_IF_ERROR(NextField(fields.emplace_back()));
      if (pos_ == text_.size()) return true;
      const char separator = Take();
      if (separator == ',') continue;
      if (separator == '\r' && pos_ < text_.size() && text_[pos_] == '\n') Take();
      return true;
    }
  }

  int64_t row() const { return row_; }  // the line on which the last record began, from 1

 private:
  char Take() {
    if (text_[pos_] == '\n') ++line_;
    return text_[pos_++];
  }

  // Leaves pos_ at a separator or at the end.
  absl::Status NextField(std::string& field) {
    const bool quoted = pos_ < text_.size() && text_[pos_] == '"';
    if (!quoted) {
      const size_t end = std::min(text_.find_first_of(",\r\n", pos_), text_.size());
      field = std::string(text_.substr(pos_, end - pos_));
      pos_ = end;
      return absl::OkStatus();
    }
    Take();
    while (pos_ < text_.size()) {
      const char c = Take();
      if (c != '"') {
        field.push_back(c);
      } else if (pos_ < text_.size() && text_[pos_] == '"') {
        field.push_back(Take());
      } else if (pos_ == text_.size() || absl::StrContains(",\r\n", text_.substr(pos_, 1))) {
        return absl::OkStatus();
      } else {
        break;
      }
    }
    return absl::InvalidArgumentError(absl::StrCat("row ", row_, ": a quoted field is not closed"));
  }

  absl::string_view text_;
  size_t pos_ = 0;
  int64_t line_ = 1;
  int64_t row_ = 1;
};

struct Columns {
  std::vector<size_t> features;
  size_t label = 0;
  std::optional<size_t> client;
};

absl::StatusOr<size_t> FindColumn(const std::vector<std::string>& header, const std::string& name) {
  const auto found = absl::c_find(header, name);
  if (found != header.end()) return static_cast<size_t>(found - header.begin());
  return absl::InvalidArgumentError(absl::StrCat(
      "row 1: no column is called '", name, "'; the columns are ", absl::StrJoin(header, ", ")));
}

absl::StatusOr<Columns> FindColumns(const std::vector<std::string>& header,
                                    const CsvOptions& options) {
  for (auto name = header.begin(); name != header.end(); ++name) {
    if (std::find(name + 1, header.end(), *name) != header.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("row 1: two columns are called '", *name, "'"));
    }
  }
  Columns columns;
  TRIB_ASSIGN_OR_RETURN(columns.label, FindColumn(header, options.label));
  if (options.client) {
    TRIB_ASSIGN_OR_RETURN(columns.client, FindColumn(header, *options.client));
  }
  for (const std::string& name : options.features) {
    TRIB_ASSIGN_OR_RETURN(columns.features.emplace_back(), FindColumn(header, name));
  }
  for (size_t i = 0; options.features.empty() && i < header.size(); ++i) {
    if (i != columns.label && i != columns.client) columns.features.push_back(i);
  }
  if (columns.features.empty()) return absl::InvalidArgumentError("row 1: no feature column");
  return columns;
}

// The file's columns as they stand, before names become numbers.
struct Table {
  std::vector<float> features;
  std::vector<std::string> labels;
  std::vector<std::string> clients;
  std::vector<int64_t> rows;  // for messages
  std::vector<std::string> feature_names;
};

bool IsMissing(absl::string_view field) { return field.empty() || field == "NA"; }

absl::StatusOr<float> ParseFeature(absl::string_view field) {
  float value = 0;
  if (absl::SimpleAtof(field, &value) && std::isfinite(value)) return value;
  return absl::InvalidArgumentError(absl::StrCat("found '", field, "', expected a finite number"));
}

// Adds one record to the table, or leaves it out under MissingValue::kDrop.
absl::Status AddRecord(const std::vector<std::string>& fields, const Columns& columns,
                       const std::vector<std::string>& header, MissingValue missing, Table& table) {
  const auto field = [&](size_t c) { return absl::StripAsciiWhitespace(fields[c]); };
  const size_t start = table.features.size();
  std::vector<size_t> names = {columns.label};
  if (columns.client) names.push_back(*columns.client);
  for (const size_t c : names) {
    if (!IsMissing(field(c))) continue;
    if (missing == MissingValue::kDrop) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("column '", header[c], "': the value is missing"));
  }
  for (const size_t c : columns.features) {
    if (!IsMissing(field(c))) {
      absl::StatusOr<float> value = ParseFeature(field(c));
      if (!value.ok()) {
        return WithContext(value.status(), absl::StrCat("column '", header[c], "'"));
      }
      table.features.push_back(*value);
    } else if (missing == MissingValue::kZero) {
      table.features.push_back(0);
    } else if (missing == MissingValue::kDrop) {
      table.features.resize(start);
      return absl::OkStatus();
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("column '", header[c], "': the value is missing; ",
                       "`missing: zero` or `missing: drop` would allow it"));
    }
  }
  table.labels.emplace_back(field(columns.label));
  if (columns.client) table.clients.emplace_back(field(*columns.client));
  return absl::OkStatus();
}

absl::StatusOr<Table> ParseTable(const std::string& text, const CsvOptions& options) {
  CsvScanner scanner(text);
  std::vector<std::string> header;
  TRIB_ASSIGN_OR_RETURN(const bool has_header, scanner.Next(header));
  if (!has_header) return absl::InvalidArgumentError("empty; expected a header row");
  for (std::string& name : header) absl::StripAsciiWhitespace(&name);
  TRIB_ASSIGN_OR_RETURN(const Columns columns, FindColumns(header, options));
  Table table;
  for (const size_t c : columns.features) table.feature_names.push_back(header[c]);
  std::vector<std::string> fields;
  while (true) {
    TRIB_ASSIGN_OR_RETURN(const bool more, scanner.Next(fields));
    if (!more) break;
    const std::string row = absl::StrCat("row ", scanner.row());
    if (fields.size() != header.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(row, ": ", fields.size(), " fields; the header has ", header.size()));
    }
    TRIB_RETURN_IF_ERROR(
        WithContext(AddRecord(fields, columns, header, options.missing, table), row));
    if (table.rows.size() < table.labels.size()) table.rows.push_back(scanner.row());
  }
  if (table.labels.empty()) return absl::InvalidArgumentError("no example");
  return table;
}

absl::StatusOr<Table> ReadTable(const std::string& path, const CsvOptions& options) {
  TRIB_ASSIGN_OR_RETURN(const std::string text, ReadFileBytes(path, kMaxDatasetBytes));
  absl::StatusOr<Table> table = ParseTable(text, options);
  if (!table.ok()) return WithContext(table.status(), path);
  return table;
}

// The distinct names in sorted order: as numbers when all are integers.
std::vector<std::string> SortedNames(std::vector<std::string> names) {
  std::vector<std::pair<int64_t, std::string>> keyed;
  int64_t number = 0;
  const bool integers =
      absl::c_all_of(names, [&](const auto& name) { return absl::SimpleAtoi(name, &number); });
  for (std::string& name : names) {
    if (integers) TRIB_CHECK(absl::SimpleAtoi(name, &number));
    keyed.emplace_back(integers ? number : 0, std::move(name));
  }
  absl::c_sort(keyed);
  keyed.erase(std::unique(keyed.begin(), keyed.end()), keyed.end());
  std::vector<std::string> sorted;
  sorted.reserve(keyed.size());
  for (auto& [key, name] : keyed) sorted.push_back(std::move(name));
  return sorted;
}

absl::StatusOr<std::vector<int64_t>> NumberOf(const std::vector<std::string>& values,
                                              const std::vector<std::string>& names,
                                              const Table& table, const std::string& column) {
  std::map<absl::string_view, int64_t> numbers;
  for (const std::string& name : names) numbers.emplace(name, static_cast<int64_t>(numbers.size()));
  std::vector<int64_t> out;
  out.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto found = numbers.find(values[i]);
    if (found == numbers.end()) {
      return absl::InvalidArgumentError(absl::StrCat("row ", table.rows[i], ", column '", column,
                                                     "': found '", values[i],
                                                     "', which is not in the training file"));
    }
    out.push_back(found->second);
  }
  return out;
}

absl::StatusOr<std::vector<int64_t>> IntegerLabels(const Table& table, const CsvOptions& options) {
  std::vector<int64_t> out;
  out.reserve(table.labels.size());
  for (size_t i = 0; i < table.labels.size(); ++i) {
    int64_t label = -1;
    if (!absl::SimpleAtoi(table.labels[i], &label) || label < 0 || label >= *options.num_classes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "row ", table.rows[i], ", column '", options.label, "': found '", table.labels[i],
          "', expected an integer label in [0, ", *options.num_classes, ")"));
    }
    out.push_back(label);
  }
  return out;
}

absl::StatusOr<Dataset> ToDataset(Table table, const CsvOptions& options, const CsvNames& names) {
  Dataset data;
  data.example_shape = {static_cast<int64_t>(table.feature_names.size())};
  if (options.num_classes) {
    data.num_classes = *options.num_classes;
    TRIB_ASSIGN_OR_RETURN(data.labels, IntegerLabels(table, options));
  } else {
    data.num_classes = static_cast<int64_t>(names.labels.size());
    TRIB_ASSIGN_OR_RETURN(data.labels, NumberOf(table.labels, names.labels, table, options.label));
  }
  if (options.client) {
    TRIB_ASSIGN_OR_RETURN(const std::vector<int64_t> clients,
                          NumberOf(table.clients, names.clients, table, *options.client));
    data.client_ids.assign(clients.begin(), clients.end());
    data.num_clients = static_cast<int32_t>(names.clients.size());
    data.client_names = names.clients;
  }
  data.features = std::move(table.features);
  TRIB_RETURN_IF_ERROR(data.Validate());
  return data;
}

}  // namespace

absl::StatusOr<Dataset> ReadCsv(const std::string& path, const CsvOptions& options,
                                CsvNames* names) {
  TRIB_ASSIGN_OR_RETURN(Table table, ReadTable(path, options));
  CsvNames found;
  found.features = table.feature_names;
  if (!options.num_classes) found.labels = SortedNames(table.labels);
  found.clients = SortedNames(table.clients);
  absl::StatusOr<Dataset> data = ToDataset(std::move(table), options, found);
  if (!data.ok()) return WithContext(data.status(), path);
  if (names != nullptr) *names = std::move(found);
  return data;
}

absl::StatusOr<Dataset> ReadCsvWithNames(const std::string& path, const CsvOptions& options,
                                         const CsvNames& names) {
  // A test set has no owners, and its columns are the training file's, in that order.
  CsvOptions test_options = options;
  test_options.client.reset();
  test_options.features = names.features;
  TRIB_ASSIGN_OR_RETURN(Table table, ReadTable(path, test_options));
  absl::StatusOr<Dataset> data = ToDataset(std::move(table), test_options, names);
  if (!data.ok()) return WithContext(data.status(), path);
  return data;
}

}  // namespace tributary
