// `tributary job …`: submit and validate job files, look at jobs, steer them.
#ifndef TRIBUTARY_SERVER_OPERATOR_JOB_COMMANDS_H_
#define TRIBUTARY_SERVER_OPERATOR_JOB_COMMANDS_H_

#include <string>

#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

// Reads the file and checks it, without a server. kRefused with every error, one a line.
ExitCode ValidateJob(const Console& console, const std::string& path);

// The JSON Schema of the `job:` section, for editors.
ExitCode PrintJobSchema(const Console& console);

// Prints the job's id; with `watch` then goes on as WatchJob.
ExitCode SubmitJob(const Console& console, Connection& connection, const std::string& path,
                   bool watch);

ExitCode ListJobs(const Console& console, Connection& connection);
ExitCode ShowJob(const Console& console, Connection& connection, const std::string& job_id);

// Until the job ends. kJobFailed unless it ended as done or cancelled.
ExitCode WatchJob(const Console& console, Connection& connection, const std::string& job_id);

enum class JobVerb { kPause, kResume, kCancel, kNextTask };
ExitCode SteerJob(const Console& console, Connection& connection, const std::string& job_id,
                  JobVerb verb);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_JOB_COMMANDS_H_
