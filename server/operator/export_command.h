// `tributary job export`: what a job left, as a folder that `tributary report`, `tributary
// compare` and `tributary-sim replay` read.
#ifndef TRIBUTARY_SERVER_OPERATOR_EXPORT_COMMAND_H_
#define TRIBUTARY_SERVER_OPERATOR_EXPORT_COMMAND_H_

#include <string>

#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

// Writes events.jsonl, metrics.csv, model.safetensors and the kept updates into `dir`, which is
// made, and summary.json last: a folder that has it is whole. What an earlier export left there is
// replaced. A broken stream goes on with the file in which it broke.
ExitCode ExportJob(const Console& console, Connection& connection, const std::string& job_id,
                   const std::string& dir);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_EXPORT_COMMAND_H_
