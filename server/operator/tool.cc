#include "server/operator/tool.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/config/node.h"
#include "common/version.h"
#include "server/operator/client_commands.h"
#include "server/operator/compare.h"
#include "server/operator/connection.h"
#include "server/operator/doctor.h"
#include "server/operator/export_command.h"
#include "server/operator/job_commands.h"
#include "server/operator/model_commands.h"
#include "server/operator/report_command.h"

namespace tributary::op {
namespace {

// The arguments of all commands; each reads its own.
struct Arguments {
  ConnectionOptions connection;
  std::string path;  // job file, or file to write
  std::string id;    // of a job or a client
  Version version = -1;
  bool watch = false;
  std::vector<std::string> directories;  // of runs
};

// Declares the commands and remembers which one the line names.
class CommandLine {
 public:
  using Local = std::function<ExitCode()>;
  using Remote = std::function<ExitCode(Connection&)>;

  explicit CommandLine(Console& console) : console_(console) {
    app_.name("tributary");
    app_.set_version_flag("--version", std::string("tributary ") + kVersion);
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_option("--server", args_.connection.server, "host:port of tributaryd")
        ->envname("TRIBUTARY_SERVER")
        ->capture_default_str();
    app_.add_option("--ca", args_.connection.ca, "PEM file of the authority to trust: use TLS");
    app_.add_option("--cert", args_.connection.certificate,
                    "PEM file of this operator's certificate");
    app_.add_option("--key", args_.connection.key, "PEM file of its key");
    app_.add_flag("--json", console_.json, "print data as JSON");
    app_.footer("Example: tributary job submit examples/quickstart/job.yaml --watch");
    AddJobCommands();
    AddModelCommands();
    AddClientCommands();
    AddOtherCommands();
  }

  ExitCode Run(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& done) {  // --help, --version
      app_.exit(done, console_.out, console_.err);
      return ExitCode::kDone;
    } catch (const CLI::ParseError& error) {
      console_.err << "error: " << Explain(error) << "\n" << CommandPath() << " --help says more\n";
      return ExitCode::kUsage;
    }
    return chosen_();
  }

 private:
  CLI::App* Group(const std::string& name, const std::string& what, const std::string& example) {
    CLI::App* group = app_.add_subcommand(name, what);
    group->require_subcommand(1);
    group->footer("Example: tributary " + example);
    return group;
  }

  CLI::App* AddLocal(CLI::App* parent, const std::string& name, const std::string& what,
                     const std::string& example, Local run) {
    CLI::App* command = parent->add_subcommand(name, what);
    command->footer("Example: tributary " + example);
    command->callback([this, run = std::move(run)] { chosen_ = run; });
    return command;
  }

  CLI::App* AddRemote(CLI::App* parent, const std::string& name, const std::string& what,
                      const std::string& example, Remote run) {
    return AddLocal(parent, name, what, example, [this, run = std::move(run)] {
      const auto connection = Connection::Create(args_.connection, console_.clock);
      if (!connection.ok()) return console_.Fail(connection.status(), ExitCode::kUsage);
      return run(**connection);
    });
  }

  void TakesJob(CLI::App* command) {
    command->add_option("JOB", args_.id, "the job's id, as `job list` shows it")->required();
  }
  void TakesFile(CLI::App* command) {
    command->add_option("FILE", args_.path, "the job file (YAML)")->required();
  }

  void AddJobCommands() {
    CLI::App* job = Group("job", "Submit, watch and steer jobs", "job list");
    CLI::App* submit = AddRemote(
        job, "submit", "Start a job; prints its id", "job submit job.yaml --watch",
        [this](Connection& c) { return SubmitJob(console_, c, args_.path, args_.watch); });
    TakesFile(submit);
    submit->add_flag("--watch", args_.watch, "then watch it until it ends");
    TakesFile(AddLocal(job, "validate", "Check a job file, without a server",
                       "job validate job.yaml",
                       [this] { return ValidateJob(console_, args_.path); }));
    AddLocal(job, "schema", "Print the JSON Schema of job files, for editors",
             "job schema > job.schema.json", [this] { return PrintJobSchema(console_); });
    AddRemote(job, "list", "All jobs, newest first", "job list --json",
              [this](Connection& c) { return ListJobs(console_, c); });
    TakesJob(AddRemote(job, "show", "One job: state, accuracy, counters", "job show j-1",
                       [this](Connection& c) { return ShowJob(console_, c, args_.id); }));
    TakesJob(AddRemote(job, "watch", "Follow a job until it ends; exit code 6 if it failed",
                       "job watch j-1",
                       [this](Connection& c) { return WatchJob(console_, c, args_.id); }));
    CLI::App* write =
        AddRemote(job, "export", "Write what a job left: events, figures, model, kept updates",
                  "job export j-1 --out runs/j-1",
                  [this](Connection& c) { return ExportJob(console_, c, args_.id, args_.path); });
    TakesJob(write);
    write->add_option("--out", args_.path, "folder to write to")->required();
    AddVerb(job, "pause", "Give out no more work of a job", JobVerb::kPause);
    AddVerb(job, "resume", "Go on with a paused job", JobVerb::kResume);
    AddVerb(job, "next-task", "End the task that a job with tasks is learning", JobVerb::kNextTask);
    AddVerb(job, "cancel", "End a job; its versions stay", JobVerb::kCancel);
  }

  void AddVerb(CLI::App* job, const std::string& name, const std::string& what, JobVerb verb) {
    TakesJob(AddRemote(job, name, what, "job " + name + " j-1", [this, verb](Connection& c) {
      return SteerJob(console_, c, args_.id, verb);
    }));
  }

  void AddModelCommands() {
    CLI::App* model = Group("model", "Published versions of a job's model", "model list j-1");
    TakesJob(AddRemote(model, "list", "A job's versions, newest first", "model list j-1",
                       [this](Connection& c) { return ListVersions(console_, c, args_.id); }));
    CLI::App* write =
        AddRemote(model, "export", "Write a version as safetensors",
                  "model export j-1 --out model.safetensors", [this](Connection& c) {
                    return ExportModel(console_, c, args_.id, args_.version, args_.path);
                  });
    TakesJob(write);
    write->add_option("--version", args_.version, "which one; the newest unless told")
        ->check(CLI::NonNegativeNumber);
    write->add_option("--out", args_.path, "file to write")->required();
  }

  void AddClientCommands() {
    CLI::App* client = Group("client", "Enrolled clients", "client list");
    AddRemote(client, "list", "Every client that ever enrolled", "client list",
              [this](Connection& c) { return ListClients(console_, c); });
    AddRemote(client, "show", "One client", "client show phone-7",
              [this](Connection& c) { return ShowClient(console_, c, args_.id); })
        ->add_option("CLIENT", args_.id, "the client's id")
        ->required();
  }

  void AddOtherCommands() {
    CLI::App* compare =
        AddLocal(&app_, "compare", "Compare runs: accuracy, time and bytes to each target",
                 "compare runs/fedavg runs/compass --page overlay.html",
                 [this] { return CompareRuns(console_, args_.directories, args_.path); });
    compare->add_option("DIR", args_.directories, "directories that hold a summary.json")
        ->required();
    compare->add_option("--page", args_.path, "also write a page that overlays them");
    CLI::App* report = AddLocal(&app_, "report", "Write the page that shows a run",
                                "report runs/compass --out compass.html", [this] {
                                  return ReportRun(console_, args_.directories.front(), args_.path);
                                });
    report->add_option("DIR", args_.directories, "directory that holds a summary.json")
        ->required()
        ->expected(1);
    report->add_option("--out", args_.path, "file to write; DIR/report.html unless told");
    AddRemote(&app_, "doctor", "Check this machine and the server", "doctor",
              [this](Connection& c) { return RunDoctor(console_, c); });
  }

  // The innermost command that the line named so far.
  CLI::App* Deepest() {
    CLI::App* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return at;
  }

  std::string CommandPath() {
    std::string path = app_.get_name();
    for (CLI::App* at = &app_; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      absl::StrAppend(&path, " ", at->get_name());
    }
    return path;
  }

  std::string Explain(const CLI::ParseError& error) {
    CLI::App* at = Deepest();
    std::vector<std::string> known;
    for (const CLI::App* command : at->get_subcommands([](CLI::App*) { return true; })) {
      known.push_back(command->get_name());
    }
    for (const std::string& word : app_.remaining(/*recurse=*/true)) {
      if (known.empty() || word.front() == '-') continue;
      return absl::StrCat("there is no command '", word, "'", config::Suggest(word, known));
    }
    return error.what();
  }

  Console& console_;
  Arguments args_;
  CLI::App app_{"Runs federated-learning jobs on a tributaryd."};
  Local chosen_;
};

}  // namespace

ExitCode RunTool(int argc, const char* const* argv, Console& console) {
  return CommandLine(console).Run(argc, argv);
}

}  // namespace tributary::op
