// How the simulator and the coordinator core scale with the number of clients: a discrete-event
// run without training (NullWorkload), each size in a process of its own. Measures a whole run,
// from the first check-in to the recall of the last order, of as many updates with each size; or
// with
// --events as many events of a run that goes on, once it has had kWarmUp events for each client.
// Prints a table, or with --json one object; fails when an event costs more than --limit times what
// it costs with the fewest clients. Beside it stands the machine's part: the time of a read
// anywhere in the memory of as many clients, each with the bytes of one among the most.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/cli/format.h"
#include "common/clock.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "simulator/experiment.h"
#include "simulator/null_workload.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

constexpr char kFile[] = R"(
job:
  name: scale
  model:
    builtin: {name: logistic}
  train:
    batch_size: 32
    local_steps: 20
  scheduler:
    sync_round: {}  # --scheduler
  evaluate: {every_versions: 1000000000}
  stop: {updates: 1}  # --updates
simulation:
  clients: 1
  data: {dataset: synthetic}  # never read
  speed: {exponential: {mean_seconds_per_step: 0.1, jitter: 0.05}}
  network: {}
)";

// By then everybody has checked in and all but the slowest have delivered.
constexpr int64_t kWarmUp = 10;

struct Length {
  int64_t updates = 0;  // of a whole run
  int64_t events = 0;   // if not 0: after the warm-up
};

struct Figures {
  int64_t clients = 0, events = 0, updates = 0, versions = 0;
  double create_seconds = 0, run_seconds = 0;  // of CPU
  double rss_bytes_per_client = 0;             // at the peak, over the process before the run

  double nanoseconds_per_event() const { return 1e9 * run_seconds / static_cast<double>(events); }
  double events_per_second() const { return static_cast<double>(events) / run_seconds; }
};

int64_t RssBytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t PeakRssBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

// Of a cache line, anywhere in so many bytes, when the read before it has told where.
double NanosecondsPerRead(int64_t bytes) {
  struct alignas(64) Line {
    int64_t next = 0;
  };
  std::vector<Line> lines(static_cast<size_t>(bytes) / sizeof(Line) + 2);
  const auto at = [&](int64_t i) -> int64_t& { return lines[static_cast<size_t>(i)].next; };
  for (int64_t i = 0; i < std::ssize(lines); ++i) at(i) = i;
  // One cycle through all of them (Sattolo 1986, "An algorithm to generate a random cyclic
  // permutation").
  Rng rng(1);
  for (int64_t i = std::ssize(lines) - 1; i > 0; --i) std::swap(at(i), at(rng.UniformInt(i)));
  constexpr int kReads = 2'000'000;
  const absl::Duration start = ThreadCpuTime();
  int64_t line = 0;
  for (int i = 0; i < kReads; ++i) line = at(line);
  const absl::Duration end = ThreadCpuTime();
  TRIB_CHECK(line < std::ssize(lines));  // so that it has to be read
  return absl::ToDoubleNanoseconds(end - start) / kReads;
}

absl::StatusOr<Figures> Measure(int64_t clients, Length length, std::vector<std::string> set) {
  set.push_back(absl::StrCat("simulation.clients=", clients));
  const int64_t forever = std::numeric_limits<int64_t>::max();
  set.push_back(absl::StrCat("job.stop.updates=", length.events > 0 ? forever : length.updates));
  const test::TempDir dir;
  TRIB_ASSIGN_OR_RETURN(SimulationFile file,
                        ReadSimulationFile(dir.Write("job.yaml", kFile), {.set = std::move(set)}));
  const int64_t rss = RssBytes();
  const absl::Duration start = ThreadCpuTime();
  TRIB_ASSIGN_OR_RETURN(auto workload, NullWorkload::Create(file.job));
  std::unique_ptr<Experiment> experiment;
  // The two ends of what is measured.
  JobProgress before{.version = 0}, after;
  absl::Duration begin, end;
  std::stop_source stop;
  const auto on_progress = [&](const JobProgress& progress, absl::Duration) {
    const int64_t events = experiment->events() - kWarmUp * clients;
    if (events != 0 && events != length.events) return;
    (events == 0 ? before : after) = progress;
    (events == 0 ? begin : end) = ThreadCpuTime();
    if (events == length.events) stop.request_stop();
  };
  ExperimentOptions options{.stop = stop.get_token()};
  if (length.events > 0) options.on_progress = on_progress;
  TRIB_ASSIGN_OR_RETURN(
      experiment, Experiment::Create(std::move(file), std::move(workload), std::move(options)));
  const absl::Duration created = ThreadCpuTime();
  const absl::Status status = experiment->Run(nullptr);
  if (length.events == 0) {
    TRIB_RETURN_IF_ERROR(status);
    begin = created;
    end = ThreadCpuTime();
    after = experiment->Summary().progress;
  } else if (!absl::IsCancelled(status)) {
    return absl::FailedPreconditionError(absl::StrCat("the run ended: ", status.message()));
  }
  return Figures{.clients = clients,
                 .events = length.events > 0 ? length.events : experiment->events(),
                 .updates = after.updates - before.updates,
                 .versions = after.version - before.version,
                 .create_seconds = absl::ToDoubleSeconds(created - start),
                 .run_seconds = absl::ToDoubleSeconds(end - begin),
                 .rss_bytes_per_client =
                     static_cast<double>(PeakRssBytes() - rss) / static_cast<double>(clients)};
}

// In a child, so that one size's memory is not another's.
absl::StatusOr<Figures> MeasureApart(int64_t clients, Length length,
                                     const std::vector<std::string>& set) {
  std::array<int, 2> pipe_ends{};
  TRIB_CHECK(pipe(pipe_ends.data()) == 0);
  const pid_t child = fork();
  TRIB_CHECK(child >= 0);
  if (child == 0) {
    const auto figures = Measure(clients, length, set);
    if (!figures.ok()) std::cerr << figures.status().message() << "\n";
    const bool told =
        figures.ok() && write(pipe_ends[1], &*figures, sizeof(Figures)) == sizeof(Figures);
    _exit(told ? 0 : 1);
  }
  Figures figures;
  close(pipe_ends[1]);
  const bool heard = read(pipe_ends[0], &figures, sizeof figures) == sizeof figures;
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (heard && status == 0) return figures;
  return absl::InternalError(absl::StrCat("the run with ", clients, " clients failed"));
}

nlohmann::json ToJson(const Figures& f, double ratio, double nanoseconds_per_read) {
  return {{"clients", f.clients},
          {"events", f.events},
          {"updates", f.updates},
          {"versions", f.versions},
          {"create_cpu_seconds", f.create_seconds},
          {"run_cpu_seconds", f.run_seconds},
          {"events_per_second", f.events_per_second()},
          {"nanoseconds_per_event", f.nanoseconds_per_event()},
          {"ratio", ratio},
          {"rss_bytes_per_client", f.rss_bytes_per_client},
          {"nanoseconds_per_read", nanoseconds_per_read}};
}

int Main(int argc, char** argv) {
  CLI::App app{"events per second and bytes per client of a simulation without training"};
  std::vector<int64_t> sizes = {1'000, 10'000, 100'000};
  Length length{.updates = 200'000};
  std::string scheduler = "{sync_round: {clients_per_round: 100}}";
  std::vector<std::string> set;
  double limit = 0;
  bool json = false;
  app.add_option("--clients", sizes, "numbers of clients, ascending")
      ->check(CLI::Range(1, 10'000'000))
      ->delimiter(',');
  app.add_option("--updates", length.updates, "length of each run")
      ->check(CLI::Range(1, 1'000'000'000));
  app.add_option("--events", length.events,
                 "instead: length of what is measured of each run, after a warm-up")
      ->check(CLI::Range(1, 1'000'000'000));
  app.add_option("--scheduler", scheduler, "as in a job file: {name: {options}}");
  app.add_option("--set", set, "path=value, replaces a value of the file; may be repeated");
  app.add_option("--limit", limit, "fail above this ratio of costs; 0: never");
  app.add_flag("--json", json, "one JSON object");
  app.footer(
      "Example:\n  simulator_scale_bench --scheduler '{sync_round: {fraction: 0.1}}' "
      "--set 'simulation.availability={dropout: 0.05}'\n");
  CLI11_PARSE(app, argc, argv);
  set.insert(set.begin(), absl::StrCat("job.scheduler=", scheduler));

  std::vector<Figures> all;
  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {{"clients", "events", "versions", "events/s",
                                                  "ns/event", "ratio", "bytes/client", "ns/read"}};
  double worst = 0;
  for (const int64_t clients : sizes) {
    const auto f = MeasureApart(clients, length, set);
    if (!f.ok()) return std::cerr << f.status().message() << "\n", 1;
    all.push_back(*f);
  }
  for (const Figures& f : all) {
    const double ratio = f.nanoseconds_per_event() / all.front().nanoseconds_per_event();
    const double read = NanosecondsPerRead(
        static_cast<int64_t>(all.back().rss_bytes_per_client * static_cast<double>(f.clients)));
    worst = std::max(worst, ratio);
    rows.push_back(ToJson(f, ratio, read));
    table.push_back(
        {absl::StrCat(f.clients), absl::StrCat(f.events), absl::StrCat(f.versions),
         absl::StrFormat("%.0f", f.events_per_second()),
         absl::StrFormat("%.0f", f.nanoseconds_per_event()), absl::StrFormat("%.2f", ratio),
         absl::StrFormat("%.0f", f.rss_bytes_per_client), absl::StrFormat("%.1f", read)});
  }
  if (json) {
    std::cout << nlohmann::json{{"scheduler", scheduler}, {"sizes", rows}}.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(table);
  }
  return limit > 0 && worst > limit ? 1 : 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
