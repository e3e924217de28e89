// TaskData: the data of a job that goes from task to task (continual learning). Each task is a data
// set of its own, made from the one that `data` names: the scenarios of van de Ven & Tolias 2019,
// "Three scenarios for continual learning".
#ifndef TRIBUTARY_CLIENT_SDK_DATA_TASK_DATA_H_
#define TRIBUTARY_CLIENT_SDK_DATA_TASK_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client_sdk/data/dataset.h"
#include "client_sdk/data/readers.h"
#include "common/registry.h"

namespace tributary {

// Immutable, thread-safe.
class Scenario {
 public:
  virtual ~Scenario() = default;
  // The data of `task`, from 0; the same for the same arguments. InvalidArgument: there is no such
  // task in these data.
  virtual absl::StatusOr<LoadedData> Task(const LoadedData& data, int64_t task) const = 0;
};

// permuted | rotated | split_classes | datasets
const Registry<Scenario>& ScenarioRegistry();

// One for a process: makes each task's data once, when it is first asked for. Thread-compatible.
class TaskData {
 public:
  // Reads what `spec` names; without `tasks` in it every task is all of it. Errors as LoadDataset.
  static absl::StatusOr<TaskData> Load(const DatasetSpec& spec);

  absl::StatusOr<LoadedData> Task(int64_t task);

 private:
  LoadedData data_;
  std::unique_ptr<const Scenario> scenario_;  // null: one task
  std::vector<LoadedData> made_;              // by task; empty where not yet made
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_TASK_DATA_H_
