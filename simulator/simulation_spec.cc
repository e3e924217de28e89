#include "simulator/simulation_spec.h"

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/config/yaml.h"
#include "common/status_macros.h"
#include "server/coordinator/job_file.h"
#include "simulator/online.h"
#include "simulator/speed.h"

namespace tributary {
namespace {

struct WholeFile {
  JobSpec job;
  SimulationSpec simulation;
  static void Describe(config::Fields<WholeFile>& fields) {
    fields.Add("job", &WholeFile::job, "what would be submitted to a coordinator").Required();
    fields.Add("simulation", &WholeFile::simulation, "the world that it runs in").Required();
  }
};

// A round that no number of clients could fill would never close.
absl::Status CheckRoundSize(const SimulationFile& file) {
  const auto& [name, options, position] = file.job.scheduler;
  if (!options.contains("clients_per_round") || options.contains("fraction")) {
    return absl::OkStatus();
  }
  const auto wanted = options.at("clients_per_round").get<int64_t>();
  if (wanted <= file.simulation.clients) return absl::OkStatus();
  return file.Refuse(absl::StrCat("job.scheduler.", name, ".clients_per_round"),
                     absl::InvalidArgumentError(absl::StrCat(
                         "found ", wanted, "; allowed: up to simulation.clients, which is ",
                         file.simulation.clients)));
}

// What clients report would end no task.
absl::Status CheckDataMoves(const SimulationFile& file) {
  const std::optional<ContinualSpec>& continual = file.job.continual;
  if (!file.simulation.data_moves || (continual && continual->reported_share)) {
    return absl::OkStatus();
  }
  return file.Refuse("simulation.data_moves",
                     absl::InvalidArgumentError("found without job.continual.reported_share, which "
                                                "says how many clients' data end a task"));
}

absl::Status Apply(const Overrides& overrides, config::Node& root) {
  for (const std::string& assignment : overrides.set) {
    const std::vector<std::string> parts = absl::StrSplit(assignment, absl::MaxSplits('=', 1));
    if (parts.size() != 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", assignment, ": expected path=value, job.stop.versions=5 for example"));
    }
    TRIB_ASSIGN_OR_RETURN(config::Node value,
                          config::ParseYaml(parts[1], absl::StrCat("--set ", parts[0])));
    TRIB_RETURN_IF_ERROR(config::SetPath(root, parts[0], std::move(value)));
  }
  if (overrides.seed) {
    TRIB_RETURN_IF_ERROR(
        config::SetPath(root, "simulation.seed", config::NodeFromJson(*overrides.seed)));
  }
  return absl::OkStatus();
}

void MakeRelativeTo(const std::filesystem::path& folder, std::optional<std::string>& path) {
  if (path) path = (folder / *path).string();  // an absolute path stays as it is
}

void MakeRelativeTo(const std::filesystem::path& folder, config::Choice& choice) {
  const auto path = choice.options.find("path");
  if (path != choice.options.end()) *path = (folder / path->get<std::string>()).string();
}

}  // namespace

void NetworkSpec::Describe(config::Fields<NetworkSpec>& fields) {
  fields.Add("uplink_mbps", &NetworkSpec::uplink_mbps, "client to server, 10^6 bits a second")
      .GreaterThan(0);
  fields.Add("downlink_mbps", &NetworkSpec::downlink_mbps, "server to client, 10^6 bits a second")
      .GreaterThan(0);
  fields.Add("latency_ms", &NetworkSpec::latency_ms, "added to every transfer, milliseconds")
      .Min(0);
  fields
      .Add("spread", &NetworkSpec::spread,
           "standard deviation of the logarithm of a client's factor on both rates, drawn once; "
           "the median client has the rates above")
      .Min(0)
      .Max(3);
  fields.Add("trace", &NetworkSpec::trace,
             "instead of these: CSV file with the columns uplink_mbps, downlink_mbps, latency_ms");
}

absl::Status NetworkSpec::Validate() const {
  if (!trace || spread == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("found trace and spread ", spread, "; allowed: one of the two"));
}

void ShareSpec::Describe(config::Fields<ShareSpec>& fields) {
  fields.Add("share", &ShareSpec::share, "of the clients; which ones is drawn")
      .Required()
      .Min(0)
      .Max(1);
  fields
      .Add("by_seconds", &ShareSpec::by_seconds,
           "virtual time up to which their times are drawn, uniformly from 0")
      .Required()
      .Max(1e9);
}

void AvailabilitySpec::Describe(config::Fields<AvailabilitySpec>& fields) {
  fields
      .Add("dropout", &AvailabilitySpec::dropout,
           "probability that a client abandons a training order, at a point drawn uniformly from "
           "its download and training; it checks in again at once")
      .Min(0)
      .LessThan(1);
  fields
      .Add("online", &AvailabilitySpec::online,
           "when a client is there; going offline, it abandons its work")
      .Alternatives(OnlineRegistry().Alternatives());
  fields.Add("vanishing", &AvailabilitySpec::vanishing,
             "clients that are gone for good at some time, without a word");
  fields.Add("late_joiners", &AvailabilitySpec::late_joiners,
             "clients that check in first at some time; the others do at the start");
}

void SpeedChangeSpec::Describe(config::Fields<SpeedChangeSpec>& fields) {
  fields.Add("at_seconds", &SpeedChangeSpec::at_seconds, "virtual time from which it holds")
      .Required();
  fields.Add("share", &SpeedChangeSpec::share, "of the clients; which ones is drawn").Min(0).Max(1);
  fields.Add("factor", &SpeedChangeSpec::factor, "on their time per step; above 1 is slower")
      .Required()
      .GreaterThan(0)
      .Max(1e6);
}

void DataMovesSpec::Describe(config::Fields<DataMovesSpec>& fields) {
  fields
      .Add("every_seconds", &DataMovesSpec::every_seconds,
           "virtual time after which all clients' data are of the next task, again and again")
      .GreaterThan(0);
  fields
      .Add("every_training_orders", &DataMovesSpec::every_training_orders,
           "training orders after which a client's data are of the next task, again and again")
      .Min(1);
}

absl::Status DataMovesSpec::Validate() const {
  if (every_seconds.has_value() != every_training_orders.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("found ", every_seconds ? "both" : "neither",
                   " of every_seconds and every_training_orders; allowed: one of the two"));
}

config::Choice SimulationSpec::DefaultSpeed() {
  return {.name = "constant", .options = {{"mean_seconds_per_step", 0.1}, {"jitter", 0.0}}};
}

void SimulationSpec::Describe(config::Fields<SimulationSpec>& fields) {
  fields.Add("seed", &SimulationSpec::seed, "of everything random, the job's own draws included")
      .Min(0);
  fields.Add("clients", &SimulationSpec::clients, "virtual clients").Min(1).Max(10'000'000);
  fields.Add("data", &SimulationSpec::data, "the data set and how it is dealt out").Required();
  fields.Add("speed", &SimulationSpec::speed, "how fast the clients compute")
      .Alternatives(SpeedRegistry().Alternatives());
  fields.Add("speed_changes", &SimulationSpec::speed_changes,
             "changes of that at given times; of several for a client, the factors multiply");
  fields.Add("network", &SimulationSpec::network, "transfer rates; absent: transfers take no time");
  fields.Add("availability", &SimulationSpec::availability,
             "when clients are there, and what they lose");
  fields.Add("data_moves", &SimulationSpec::data_moves,
             "when clients' data are of the next task, in a job with continual.reported_share; "
             "absent: never");
  fields.Add("targets", &SimulationSpec::targets, "accuracies whose first time is reported")
      .GreaterThan(0)
      .Max(1);
}

absl::Status SimulationFile::Refuse(absl::string_view path, const absl::Status& why) const {
  config::Errors errors;
  errors.Add(config::PositionAt(source, path), path, why.message());
  return errors.ToStatus();
}

absl::StatusOr<SimulationFile> ReadSimulationFile(const std::string& path,
                                                  const Overrides& overrides) {
  TRIB_ASSIGN_OR_RETURN(config::Node root, config::ReadYamlFile(path));
  TRIB_RETURN_IF_ERROR(Apply(overrides, root));
  TRIB_ASSIGN_OR_RETURN(WholeFile whole, config::Parse<WholeFile>(root));
  whole.job.seed = whole.simulation.seed;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  TRIB_RETURN_IF_ERROR(CheckFiles(whole.job, folder.string(), root));
  TRIB_ASSIGN_OR_RETURN(std::string program, TakeProgram(folder.string(), whole.job));
  SimulationSpec& simulation = whole.simulation;
  DatasetSpec& data = simulation.data;
  for (auto* file : {&whole.job.model.initial, &data.path, &data.test_path, &data.labels_path,
                     &data.test_labels_path, &data.model}) {
    MakeRelativeTo(folder, *file);
  }
  if (simulation.network) MakeRelativeTo(folder, simulation.network->trace);
  for (auto* choice : {&simulation.speed, &simulation.availability.online}) {
    MakeRelativeTo(folder, *choice);
  }
  SimulationFile file{.job = std::move(whole.job),
                      .simulation = std::move(whole.simulation),
                      .source = std::move(root)};
  if (!program.empty()) file.program = std::make_shared<const std::string>(std::move(program));
  TRIB_RETURN_IF_ERROR(CheckRoundSize(file));
  TRIB_RETURN_IF_ERROR(CheckDataMoves(file));
  return file;
}

}  // namespace tributary
