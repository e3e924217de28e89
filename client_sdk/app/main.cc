// tributary-client: a training client over the SDK and LibTorch.
#include <unistd.h>

#include <iostream>
#include <memory>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client_sdk/app/export.h"
#include "client_sdk/app/flags.h"
#include "client_sdk/app/generate.h"
#include "client_sdk/app/progress_view.h"
#include "client_sdk/app/signals.h"
#include "client_sdk/app/throttle.h"
#include "client_sdk/client.h"
#include "client_sdk/data/dataset_spec.h"
#include "client_sdk/data/partition.h"
#include "client_sdk/data/task_data.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/blas.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/malloc_tuning.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// This client's examples, and nothing of the other clients'.
absl::StatusOr<DataView> TrainingView(const ClientFlags& flags, const Dataset& data) {
  TRIB_ASSIGN_OR_RETURN(const PartitionFlag flag, ParsePartitionFlag(flags.partition));
  TRIB_ASSIGN_OR_RETURN(const Partition parts, PartitionDataset(data, flag.partition, flag.clients,
                                                                static_cast<uint64_t>(flag.seed)));
  const auto& own = parts[static_cast<size_t>(flag.index)];
  return DataView::All(std::make_shared<const Dataset>(data.Subset(own)));
}

absl::StatusOr<TorchTrainerOptions> DataOfTask(const ClientFlags& flags, TaskData& tasks,
                                               int64_t task) {
  TRIB_ASSIGN_OR_RETURN(LoadedData data, tasks.Task(task));
  TorchTrainerOptions options;
  options.eval = DataView::All(std::move(data.test));
  if (!flags.options.evaluate_only) {
    options.train = DataView::All(std::move(data.train));
    if (!flags.partition.empty()) {
      TRIB_ASSIGN_OR_RETURN(options.train, TrainingView(flags, *options.train.dataset));
    }
  }
  log::Info("data loaded", {{"task", task},
                            {"train_examples", options.train.size()},
                            {"test_examples", options.eval.size()}});
  return options;
}

absl::StatusOr<std::unique_ptr<TorchTrainer>> MakeTrainer(const ClientFlags& flags) {
  TRIB_ASSIGN_OR_RETURN(const DatasetSpec spec, ParseDataFlag(flags.data));
  TRIB_ASSIGN_OR_RETURN(TaskData loaded, TaskData::Load(spec));
  const auto tasks = std::make_shared<TaskData>(std::move(loaded));
  TRIB_ASSIGN_OR_RETURN(TorchTrainerOptions options, DataOfTask(flags, *tasks, 0));
  options.task = [flags, tasks](int64_t task) { return DataOfTask(flags, *tasks, task); };
  return TorchTrainer::Create(std::move(options));
}

int Main(int argc, char** argv) {
  const absl::string_view command = argc > 1 ? argv[1] : "";
  if (command == "generate") return Generate(argc - 1, argv + 1, std::cout, std::cerr);
  if (command == "export") return Export(argc - 1, argv + 1, std::cout, std::cerr);
  std::unique_ptr<Client> client;  // outlives the watcher, which stops it
  SignalWatcher signals;
  std::variant<ClientFlags, int> parsed = ParseFlags(argc, argv);
  if (const int* code = std::get_if<int>(&parsed)) return *code;
  ClientFlags flags = std::get<ClientFlags>(std::move(parsed));
  if (const absl::Status s = log::ConfigureFromNames(flags.log_level, flags.log_format); !s.ok()) {
    std::cerr << "tributary-client: " << s.message() << "\n";
    return 2;
  }

  WarnOfBadBlas();
  RealClock clock;
  ProgressView view(&std::cerr, flags.log_format == "text" && isatty(STDERR_FILENO) == 1, &clock);
  flags.options.on_event = [&view](const ClientEvent& event) { view.Show(event); };
  absl::Status ended = Validate(flags.options);
  if (ended.ok()) {
    absl::StatusOr<std::unique_ptr<TorchTrainer>> trainer = MakeTrainer(flags);
    ended = trainer.status();
    if (trainer.ok()) {
      absl::StatusOr<std::unique_ptr<Client>> made =
          Client::Create(flags.options, Throttled(*std::move(trainer), flags.throttle, &clock));
      ended = made.status();
      if (made.ok()) client = *std::move(made);
    }
  }
  if (client == nullptr) {
    log::Error("cannot start", {{"error", ended.message()}});
    return absl::IsInternal(ended) ? 1 : 3;
  }

  signals.Watch([&client] { client->Stop(); });
  ended = flags.once ? client->RunOnce() : client->Run();
  const int code = ExitCode(ended, signals.signalled());
  if (signals.signalled()) {
    log::Warning("interrupted");
  } else if (code == 0) {
    log::Info("done", {{"updates", view.updates()}, {"evaluations", view.evaluations()}});
  } else {
    log::Error("ended", {{"error", ended}});
  }
  return code;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) {
  tributary::TuneMalloc(32 << 20);  // of training too: a step's buffers stay
  return tributary::Main(argc, argv);
}
