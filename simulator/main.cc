// tributary-sim: runs, checks and replays simulated experiments.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <iterator>
#include <stop_token>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "aggregators/lora/lora_aggregator.h"
#include "aggregators/pipeline.h"
#include "client_sdk/data/partition.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/blas.h"
#include "common/cli/exit_code.h"
#include "common/cli/format.h"
#include "common/cli/progress_line.h"
#include "common/codec/codec_registry.h"
#include "common/params/safetensors.h"
#include "common/version.h"
#include "schedulers/scheduler_registry.h"
#include "simulator/evaluation.h"
#include "simulator/experiment.h"
#include "simulator/replay.h"
#include "simulator/report/report.h"
#include "simulator/simulation_spec.h"

namespace tributary {
namespace {

using cli::ExitCode;

std::stop_source interrupted;

ExitCode Fail(const absl::Status& status) {
  std::cerr << "error: " << status.message() << "\n";
  return absl::IsNotFound(status) ? ExitCode::kRefused : cli::ExitCodeOf(status);
}

cli::JobView View(const JobProgress& progress, const JobSpec& spec, absl::Duration virtual_time) {
  cli::JobView view{
      .version = progress.version,
      .stop_versions = spec.stop.versions,
      .updates = progress.updates,
      .state = std::string(JobStateName(progress.state)),
      .phase = cli::FormatPhase({.phase = JobPhaseName(progress.phase),
                                 .contributions = progress.contributions,
                                 .contributions_asked = progress.contributions_asked,
                                 .task = progress.task,
                                 .tasks = spec.continual ? spec.continual->tasks : 0}),
      .note = absl::StrCat("virtual ", cli::FormatSeconds(virtual_time))};
  for (const auto& [cause, count] : progress.lost) view.lost += count;
  if (progress.evaluation.version >= 0) {
    view.accuracy = progress.evaluation.accuracy;
    view.loss = progress.evaluation.loss;
  }
  return view;
}

void PrintResult(const nlohmann::json& s, const std::string& dir) {
  const auto percent = [](const nlohmann::json& v) {
    return v.is_null() ? "-" : cli::FormatPercent(v);
  };
  std::cout << cli::FormatTable({
      {"accuracy", percent(s["final"]["accuracy"])},
      {"best",
       absl::StrCat(percent(s["best"]["accuracy"]),
                    s["best"]["version"].is_null()
                        ? ""
                        : absl::StrCat(" at version ", s["best"]["version"].get<int64_t>()))},
      {"versions", absl::StrCat(s["versions"].get<int64_t>())},
      {"updates", absl::StrCat(s["updates"].get<int64_t>())},
      {"uplink", cli::FormatBytes(s["uplink_bytes"])},
      {"downlink", cli::FormatBytes(s["downlink_bytes"])},
      {"virtual time", cli::FormatSeconds(absl::Seconds(s["virtual_seconds"].get<double>()))},
      {"wall time", cli::FormatSeconds(absl::Seconds(s["wall_seconds"].get<double>()))},
      {"peak memory", cli::FormatBytes(s["peak_rss_bytes"])},
      {"model digest", s["model_digest"]},
      {"results", dir},
  });
  for (const auto& warning : s["scheduler"].value("warnings", nlohmann::json::array())) {
    std::cout << "warning: " << warning.get<std::string>() << "\n";
  }
}

// A run without its page is a run all the same.
void WriteReport(const std::string& dir, bool quiet) {
  const auto html = report::RunReport(dir);
  const absl::Status status =
      html.ok() ? report::WritePage(*html, absl::StrCat(dir, "/report.html")) : html.status();
  if (!status.ok() && !quiet) std::cerr << "note: no report.html: " << status.message() << "\n";
}

struct RunFlags {
  std::string file;
  std::string out;
  Overrides overrides;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  bool quiet = false;
  bool json = false;
};

ExitCode Run(const RunFlags& flags) {
  WarnOfBadBlas();
  auto file = ReadSimulationFile(flags.file, flags.overrides);
  if (!file.ok()) return Fail(file.status());
  const JobSpec job = file->job;
  const nlohmann::json simulation = config::Print(file->simulation);
  const RealClock clock;
  cli::ProgressLine line(std::cerr, isatty(STDERR_FILENO) != 0, clock);
  ExperimentOptions options{.threads = flags.threads, .stop = interrupted.get_token()};
  if (!flags.quiet) {
    options.on_progress = [&](const JobProgress& progress, absl::Duration virtual_time) {
      line.Show(View(progress, job, virtual_time));
    };
  }
  auto experiment = Experiment::Create(*std::move(file), std::move(options));
  if (!experiment.ok()) return Fail(experiment.status());
  auto log = RunLog::Create(flags.out, job, simulation);
  if (!log.ok()) return Fail(log.status());
  const absl::Status status = (*experiment)->Run(log->get());
  line.Finish();
  if (!status.ok()) return Fail(status);
  auto model = (*experiment)->Model();
  if (!model.ok()) return Fail(model.status());
  const RunSummary summary = (*experiment)->Summary();
  if (auto written = (*log)->Finish(summary, (*experiment)->metrics(), *model); !written.ok())
    return Fail(written);
  WriteReport(flags.out, flags.quiet);
  const nlohmann::json json = SummaryJson(summary, (*experiment)->metrics());
  if (flags.json) {
    std::cout << json.dump(2) << "\n";
  } else {
    PrintResult(json, flags.out);
  }
  return ExitCode::kDone;
}

ExitCode Validate(const RunFlags& flags) {
  auto file = ReadSimulationFile(flags.file, flags.overrides);
  if (!file.ok()) return Fail(file.status());
  const JobSpec job = file->job;
  // Deals the data out too: a partition may leave a client with nothing.
  auto experiment = Experiment::Create(*std::move(file), {.threads = 1});
  if (!experiment.ok()) return Fail(experiment.status());
  std::cout << flags.file << ": valid; config digest " << ConfigDigest(job).ToHex() << "\n";
  return ExitCode::kDone;
}

ExitCode EvaluateModel(const RunFlags& flags, const std::string& path, int64_t task) {
  WarnOfBadBlas();
  const auto file = ReadSimulationFile(flags.file, flags.overrides);
  if (!file.ok()) return Fail(file.status());
  const auto model = ReadSafetensors(path);
  if (!model.ok()) return Fail(model.status());
  const auto evaluation = Evaluate(*file, *model, task);
  if (!evaluation.ok()) return Fail(evaluation.status());
  if (flags.json) {
    std::cout << EvaluationJson(*evaluation).dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(EvaluationTable(*evaluation));
  }
  return ExitCode::kDone;
}

ExitCode ReplayRun(const std::string& path, const std::string& updates) {
  const auto result = Replay(path, updates);
  if (!result.ok()) return Fail(result.status());
  std::cout << path << ": " << result->events << " events, " << result->actions << " decisions, "
            << result->versions << " versions: the same decisions again\n";
  if (result->model_digest) {
    std::cout << "the same models again; the last one's digest is " << result->model_digest->ToHex()
              << "\n";
  }
  return ExitCode::kDone;
}

using Rows = std::vector<std::vector<std::string>>;

template <typename Entries>
Rows Named(const Entries& entries) {
  Rows rows;
  for (const auto& entry : entries) rows.push_back({entry.name, entry.doc});
  return rows;
}

ExitCode List(const std::string& what, bool json) {
  Rows rows;
  if (what == "schedulers") rows = Named(SchedulerRegistry().entries());
  if (what == "aggregators") {
    rows = Named(AggregatorRegistry().entries());
    std::ranges::move(Named(LoraAggregatorRegistry().entries()), std::back_inserter(rows));
  }
  if (what == "transforms") rows = Named(TransformRegistry().entries());
  if (what == "optimizers") rows = Named(OptimizerRegistry().entries());
  if (what == "codecs") rows = Named(CodecRegistry().entries());
  if (what == "models") rows = Named(BuiltinModels());
  if (what == "partitioners") rows = Named(PartitionerRegistry().entries());
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& row : rows) list.push_back({{"name", row[0]}, {"doc", row[1]}});
    std::cout << list.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(rows);
  }
  return ExitCode::kDone;
}

ExitCode Main(int argc, char** argv) {
  CLI::App app{"tributary-sim: federated learning with many virtual clients on one machine"};
  app.set_version_flag("--version", absl::StrCat("tributary-sim ", kVersion));
  app.require_subcommand(1);
  app.footer(
      "Example:\n  tributary-sim run examples/fashion_mnist/fedavg.yaml --out build/runs/fedavg\n");
  ExitCode code = ExitCode::kDone;

  RunFlags flags;
  const auto add_file = [&flags](CLI::App* command) {
    command->add_option("FILE", flags.file, "simulation file: job: and simulation:")->required();
    command->add_option("--seed", flags.overrides.seed, "replaces simulation.seed");
    command->add_option("--set", flags.overrides.set,
                        "path=value, replaces a value of the file; may be repeated");
  };
  CLI::App* run = app.add_subcommand("run", "run a simulation to its end");
  add_file(run);
  run->add_option(
         "--out", flags.out,
         "folder for summary.json, metrics.csv, events.jsonl, model.safetensors, report.html")
      ->required();
  run->add_option("--threads", flags.threads, "real threads that train; changes no result")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  run->add_flag("--quiet", flags.quiet, "no progress");
  run->add_flag("--json", flags.json, "print summary.json and not a table");
  run->footer(
      "Example:\n  tributary-sim run examples/fashion_mnist/fedavg.yaml --out build/runs/a --seed "
      "7 "
      "--set job.stop.versions=20\n");
  run->callback([&] { code = Run(flags); });

  CLI::App* validate =
      app.add_subcommand("validate", "check a simulation file, its data and its partition");
  add_file(validate);
  validate->footer("Example:\n  tributary-sim validate examples/fashion_mnist/fedavg.yaml\n");
  validate->callback([&] { code = Validate(flags); });

  std::string model;
  int64_t task = 0;
  CLI::App* evaluate =
      app.add_subcommand("evaluate", "what a saved model says of a simulation's test set");
  evaluate->add_option("MODEL", model, "a run's model.safetensors")->required();
  add_file(evaluate);
  evaluate->add_option("--task", task, "whose data, from 0")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  evaluate->add_flag("--json", flags.json, "print JSON and not a table");
  evaluate->footer(
      "With the partition `natural` also of each client's own part of it.\n"
      "Example:\n  tributary-sim evaluate build/a/model.safetensors "
      "examples/fashion_mnist/fedavg.yaml\n");
  evaluate->callback([&] { code = EvaluateModel(flags, model, task); });

  std::string recorded, updates;
  CLI::App* replay =
      app.add_subcommand("replay", "decide a recorded run again and compare the decisions");
  replay
      ->add_option("RUN", recorded,
                   "a run's folder (of `run`, or of `tributary job export`), or its events.jsonl")
      ->required();
  replay->add_option("--updates", updates,
                     "folder of the updates that the run kept: its models are made again and "
                     "compared, too; RUN/updates unless told");
  replay->footer("Example:\n  tributary-sim replay build/runs/fedavg\n");
  replay->callback([&] { code = ReplayRun(recorded, updates); });

  std::string what;
  bool list_json = false;
  CLI::App* list = app.add_subcommand("list", "what a file can name");
  list->add_option("WHAT", what, "what to list")
      ->required()
      ->check(CLI::IsMember({"schedulers", "aggregators", "transforms", "optimizers", "codecs",
                             "models", "partitioners"}));
  list->add_flag("--json", list_json, "as JSON");
  list->footer("Example:\n  tributary-sim list schedulers\n");
  list->callback([&] { code = List(what, list_json); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? ExitCode::kDone : ExitCode::kUsage;
  }
  return code;
}

// A thread that waits for the signals: requesting a stop takes a lock, which a signal
// handler must not.
void WatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([set] {
    int signal = 0;
    sigwait(&set, &signal);
    interrupted.request_stop();
  }).detach();
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) {
  tributary::WatchSignals();
  return static_cast<int>(tributary::Main(argc, argv));
}
