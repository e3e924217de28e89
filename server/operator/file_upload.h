// Sends the files that a job names, before the job: Operator.PutFile.
#ifndef TRIBUTARY_SERVER_OPERATOR_FILE_UPLOAD_H_
#define TRIBUTARY_SERVER_OPERATOR_FILE_UPLOAD_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

// Reads the file twice, first for its SHA-256, and holds one piece of it at a time. Goes on where a
// transfer broke; sends nothing of a file that the server has. On a terminal it shows how far it
// is. NotFound, PermissionDenied: the file cannot be read; DataLoss: it changed meanwhile; else as
// the server answers.
absl::StatusOr<v1::FileDigest> UploadFile(const Console& console, Connection& connection,
                                          const std::string& path);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_FILE_UPLOAD_H_
