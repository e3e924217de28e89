// Job files as people write them: YAML with the job under `job:`, the files that it names,
// and the descriptions of the format made from the option structs themselves.
#ifndef TRIBUTARY_SERVER_COORDINATOR_JOB_FILE_H_
#define TRIBUTARY_SERVER_COORDINATOR_JOB_FILE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/node.h"
#include "common/config/schema.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/job_spec.h"

namespace tributary {

// The whole file. The live service has no use for `simulation:`, so that one file serves both
// hosts; the simulator parses it.
struct JobFile {
  JobSpec job;
  std::optional<config::Node> simulation;

  static void Describe(config::Fields<JobFile>& fields);
};

// Reads and checks a job file and the files it names, relative to its own folder. NotFound if
// there is no such file; InvalidArgument with every error, one a line, each with its position.
absl::StatusOr<JobSpec> ReadJobFile(const std::string& path);

// The files that the job names must be there. `base_dir` is what relative paths start from.
// InvalidArgument names the field, the path and what is wrong, each with its position in `root`,
// the file that the job is from.
absl::Status CheckFiles(const JobSpec& spec, const std::string& base_dir,
                        const config::Node& root = {});

// Reads the program that model.torchscript names, and lets model.program stand for it; the bytes
// are returned. Empty: the job names none. InvalidArgument as CheckFiles, if it cannot be read.
absl::StatusOr<std::string> TakeProgram(const std::string& base_dir, JobSpec& spec);

// For editors: a JSON Schema (draft 2020-12) of the whole file.
nlohmann::json JobFileJsonSchema();

// docs/job_file.md: every section, every registry's alternatives, every option.
std::string JobFileMarkdown();
// The same for any described struct: its table under `path`, then each section and each
// alternative under a heading of its own.
std::string OptionsMarkdown(absl::string_view path, const config::ObjectSchema& schema);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_JOB_FILE_H_
