#include "simulator/trace.h"

#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client_sdk/data/file_bytes.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr int64_t kMaxTraceBytes = int64_t{1} << 30;

std::vector<absl::string_view> FieldsOf(absl::string_view line) {
  std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  for (absl::string_view& field : fields) field = absl::StripAsciiWhitespace(field);
  return fields;
}

absl::Status Refused(const std::string& where, absl::string_view found, absl::string_view allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": found '", found, "'; allowed: ", allowed));
}

absl::StatusOr<double> Value(absl::string_view field, const TraceColumn& column,
                             const std::string& where) {
  double value = 0;
  const bool good = absl::SimpleAtod(field, &value) && std::isfinite(value) &&
                    (value > 0 || (column.zero_allowed && value == 0));
  if (good) return value;
  return Refused(absl::StrCat(where, ": ", column.name), field,
                 column.zero_allowed ? "a number from 0" : "a number above 0");
}

}  // namespace

absl::StatusOr<Trace> ReadTrace(const std::string& path, absl::Span<const TraceColumn> columns,
                                int64_t clients) {
  TRIB_ASSIGN_OR_RETURN(const std::string text, ReadFileBytes(path, kMaxTraceBytes));
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  const std::string names = absl::StrJoin(
      columns, ",", [](std::string* out, const TraceColumn& c) { absl::StrAppend(out, c.name); });
  const std::string header = absl::StrJoin(FieldsOf(lines.front()), ",");
  const bool named = header == absl::StrCat("client,", names);
  if (!named && header != names) {
    return Refused(absl::StrCat(path, ":1"), lines.front(),
                   absl::StrCat("the columns ", names, " or client,", names));
  }
  Trace trace(static_cast<size_t>(clients));
  int64_t next = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (absl::StripAsciiWhitespace(lines[i]).empty()) continue;
    const std::string where = absl::StrCat(path, ":", i + 1);
    std::vector<absl::string_view> fields = FieldsOf(lines[i]);
    if (fields.size() != columns.size() + (named ? 1 : 0)) {
      return Refused(where, lines[i], absl::StrCat("a number for each of ", header));
    }
    int64_t client = next++;
    if (named) {
      if (!absl::SimpleAtoi(fields.front(), &client) || client < 0) {
        return Refused(absl::StrCat(where, ": client"), fields.front(), "an integer from 0");
      }
      fields.erase(fields.begin());
    }
    std::vector<double> values;
    for (size_t c = 0; c < columns.size(); ++c) {
      TRIB_ASSIGN_OR_RETURN(values.emplace_back(), Value(fields[c], columns[c], where));
    }
    if (client < clients) trace[static_cast<size_t>(client)].push_back(std::move(values));
  }
  for (size_t client = 0; client < trace.size(); ++client) {
    if (!trace[client].empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no line for client ", client,
                     "; allowed: a line for each of the clients 0 to ", clients - 1));
  }
  return trace;
}

absl::StatusOr<std::vector<std::vector<double>>> ReadTraceByClient(
    const std::string& path, absl::Span<const TraceColumn> columns, int64_t clients) {
  TRIB_ASSIGN_OR_RETURN(Trace trace, ReadTrace(path, columns, clients));
  std::vector<std::vector<double>> rows;
  for (auto& lines : trace) {
    if (lines.size() > 1) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", lines.size(), " lines for client ",
                                                     rows.size(), "; allowed: one"));
    }
    rows.push_back(std::move(lines.front()));
  }
  return rows;
}

}  // namespace tributary
