// A simulation that trains in a blink: Gaussian blobs, logistic regression.
#ifndef TRIBUTARY_TESTS_SIMULATOR_SMALL_WORLD_H_
#define TRIBUTARY_TESTS_SIMULATOR_SMALL_WORLD_H_

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "simulator/simulation_spec.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

inline constexpr char kSmallWorld[] = R"(
job:
  name: small-world
  model:
    builtin: {name: logistic}
  train:
    optimizer: {sgd: {learning_rate: 0.1}}
    batch_size: 16
    local_steps: 5
  scheduler:
    sync_round: {clients_per_round: 4}
  stop: {versions: 6}
simulation:
  seed: 3
  clients: 8
  data:
    dataset: synthetic
    classes: 4
    dimensions: 10
    train_examples: 800
    test_examples: 200
    partition: {dirichlet: {alpha: 0.5}}
  speed: {constant: {mean_seconds_per_step: 0.5}}
)";

inline absl::StatusOr<SimulationFile> SmallWorld(const TempDir& dir,
                                                 std::vector<std::string> set = {},
                                                 std::optional<int64_t> seed = std::nullopt) {
  const std::string path = absl::StrCat(dir.path(), "/small_world.yaml");
  std::ofstream(path) << kSmallWorld;
  return ReadSimulationFile(path, {.seed = seed, .set = std::move(set)});
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SIMULATOR_SMALL_WORLD_H_
