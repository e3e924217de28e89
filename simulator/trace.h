// Trace files: what was measured of real devices, as CSV with a number in each field, plain or
// gzip. The first line names the columns: those that the reader asks for, in their order, and
// before them, if it likes, `client`. Clients count from 0.
//
//   client,from_seconds,to_seconds
//   0,0,3600
//   0,7200,9000
//   1,1800,86400
//
// Without the column `client`, the k-th line below the first is of client k.
#ifndef TRIBUTARY_SIMULATOR_TRACE_H_
#define TRIBUTARY_SIMULATOR_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tributary {

struct TraceColumn {
  absl::string_view name;
  bool zero_allowed = false;
};

// By client: its lines, each a value for each column.
using Trace = std::vector<std::vector<std::vector<double>>>;

// The lines of the clients 0 … clients − 1, at least one for each; those of others are left out.
// NotFound: no such file. InvalidArgument with file and line: other columns, a field that is not
// a finite number above 0 (or from 0), a client without a line.
absl::StatusOr<Trace> ReadTrace(const std::string& path, absl::Span<const TraceColumn> columns,
                                int64_t clients);

// The same with exactly one line for each client.
absl::StatusOr<std::vector<std::vector<double>>> ReadTraceByClient(
    const std::string& path, absl::Span<const TraceColumn> columns, int64_t clients);

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_TRACE_H_
