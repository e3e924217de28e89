#include "server/coordinator/job_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/config/yaml.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr absl::string_view kInitialPath = "job.model.initial";

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

// What is wrong with model.initial; empty if nothing is.
std::string InitialModelError(const JobSpec& spec, const std::string& base_dir) {
  if (!spec.model.initial) return "";
  const std::string& name = *spec.model.initial;
  if (!absl::EndsWith(name, ".safetensors")) {
    return absl::StrCat("not a model file, found '", name, "'; allowed: a .safetensors file");
  }
  const std::string why = WhyUnreadable(std::filesystem::path(base_dir) / name);
  if (why.empty()) return "";
  return absl::StrCat("cannot be read, found '", name, "': ", why,
                      "; allowed: a .safetensors file, relative to the job file");
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
  config::Errors errors;
  if (const std::string error = InitialModelError(file.job, folder); !error.empty()) {
    errors.Add(config::PositionAt(root, kInitialPath), kInitialPath, error);
  }
  TRIB_RETURN_IF_ERROR(errors.ToStatus());
  return std::move(file.job);
}

absl::Status CheckFiles(const JobSpec& spec, const std::string& base_dir) {
  const std::string error = InitialModelError(spec, base_dir);
  if (error.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(kInitialPath, ": ", error));
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
