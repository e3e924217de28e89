// `tributary model …`: the published versions of a job, and their values as a file.
#ifndef TRIBUTARY_SERVER_OPERATOR_MODEL_COMMANDS_H_
#define TRIBUTARY_SERVER_OPERATOR_MODEL_COMMANDS_H_

#include <string>

#include "common/ids.h"
#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

ExitCode ListVersions(const Console& console, Connection& connection, const std::string& job_id);

// What ExportModel does, without a word of what came of it. The header of what was written.
absl::StatusOr<v1::ModelHeader> DownloadModel(const Console& console, Connection& connection,
                                              const std::string& job_id, Version version,
                                              const std::string& path);

// Streams the values into `path` as safetensors, in memory that does not grow with the model.
// A broken stream goes on where it stopped; the SHA-256 of the values is compared before the
// file gets its name, so a file of that name is whole. `version` -1: the newest.
ExitCode ExportModel(const Console& console, Connection& connection, const std::string& job_id,
                     Version version, const std::string& path);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_MODEL_COMMANDS_H_
