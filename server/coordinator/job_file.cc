#include "server/coordinator/job_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/config/yaml.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr absl::string_view kInitialPath = "job.model.initial";
constexpr absl::string_view kProgramPath = "job.model.torchscript";

constexpr absl::string_view kIntroduction = R"(# The job file

A job file is YAML. The same `job:` section serves the live service and the simulator;
`simulation:` is read by `tributary-sim` only. A section that is absent has the defaults shown
here. A field that reads "one of" a list of names takes exactly one of them, with its options:

```yaml
scheduler: {sync_round: {clients_per_round: 10}}
codec: [fp16]        # a name alone: the defaults
```

Durations are numbers of seconds. An unknown key, a key given twice, a value outside its range
and a choice that contradicts another are refused, with file, line and field, before any work.
Anchors, aliases, tags and a second document are not allowed.

The tables are generated from the declarations that the parser itself uses. `tributary job schema`
prints the same as a JSON Schema for editors.
)";

// Empty when the file can be opened.
std::string WhyUnreadable(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return "is a folder";
  errno = 0;
  if (std::ifstream(path, std::ios::binary)) return "";
  return std::strerror(errno);
}

// What is wrong with the file that a field names; empty if nothing is.
std::string NamedFileError(const std::string& base_dir, const std::string& name,
                           absl::string_view allowed) {
  const std::string why = WhyUnreadable(std::filesystem::path(base_dir) / name);
  if (why.empty()) return "";
  return absl::StrCat("cannot be read, found '", name, "': ", why, "; allowed: a ", allowed,
                      " file, relative to the job file");
}

std::string InitialModelError(const JobSpec& spec, const std::string& base_dir) {
  if (!spec.model.initial) return "";
  const std::string& name = *spec.model.initial;
  if (!absl::EndsWith(name, ".safetensors")) {
    return absl::StrCat("not a model file, found '", name, "'; allowed: a .safetensors file");
  }
  return NamedFileError(base_dir, name, ".safetensors");
}

std::string ProgramError(const JobSpec& spec, const std::string& base_dir) {
  if (!spec.model.torchscript) return "";
  const std::string& name = *spec.model.torchscript;
  const std::string error = NamedFileError(base_dir, name, "TorchScript");
  if (!error.empty()) return error;
  if (std::ifstream(std::filesystem::path(base_dir) / name).peek() != EOF) return "";
  return absl::StrCat("is empty, found '", name, "'; allowed: a TorchScript file");
}

}  // namespace

void JobFile::Describe(config::Fields<JobFile>& fields) {
  fields.Add("job", &JobFile::job, "what is trained, by whom, and until when").Required();
  fields.Add("simulation", &JobFile::simulation,
             "clients, data, speed and network; tributary-sim only");
}

absl::StatusOr<JobSpec> ReadJobFile(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const config::Node root, config::ReadYamlFile(path));
  TRIB_ASSIGN_OR_RETURN(JobFile file, config::Parse<JobFile>(root));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  TRIB_RETURN_IF_ERROR(CheckFiles(file.job, folder, root));
  return std::move(file.job);
}

absl::Status CheckFiles(const JobSpec& spec, const std::string& base_dir,
                        const config::Node& root) {
  config::Errors errors;
  const auto add = [&](absl::string_view field, const std::string& error) {
    if (!error.empty()) errors.Add(config::PositionAt(root, field), field, error);
  };
  add(kInitialPath, InitialModelError(spec, base_dir));
  add(kProgramPath, ProgramError(spec, base_dir));
  if (spec.model.program) {
    add("job.model.program", "found in a job file; allowed: torchscript, the program's path");
  }
  return errors.ToStatus();
}

absl::StatusOr<std::string> TakeProgram(const std::string& base_dir, JobSpec& spec) {
  if (!spec.model.torchscript) return "";
  std::ifstream file(std::filesystem::path(base_dir) / *spec.model.torchscript, std::ios::binary);
  std::string program{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || program.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kProgramPath, ": cannot be read, found '", *spec.model.torchscript, "'"));
  }
  spec.model.torchscript.reset();
  spec.model.program = ProgramSpecOf(program);
  return program;
}

nlohmann::json JobFileJsonSchema() {
  nlohmann::json schema = config::SchemaOf<JobFile>().JsonSchema();
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "Tributary job file";
  return schema;
}

std::string JobFileMarkdown() {
  return absl::StrCat(kIntroduction, OptionsMarkdown("", config::SchemaOf<JobFile>()));
}

std::string OptionsMarkdown(absl::string_view path, const config::ObjectSchema& schema) {
  std::string text = absl::StrCat("\n", schema.MarkdownTable());
  for (const config::ObjectSchema::Field& field : schema.fields()) {
    const std::string inner = absl::StrCat(path, path.empty() ? "" : ".", field.name);
    if (const config::ObjectSchema* const object = field.shape().object) {
      absl::StrAppend(&text, "\n## `", inner, "`\n", OptionsMarkdown(inner, *object));
    }
    for (const config::Alternative& alternative : field.constraints.alternatives) {
      const std::string name = absl::StrCat(inner, ".", alternative.name);
      absl::StrAppend(&text, "\n### `", name, "`\n\n", alternative.doc, ".\n",
                      OptionsMarkdown(name, *alternative.schema));
    }
  }
  return text;
}

}  // namespace tributary
