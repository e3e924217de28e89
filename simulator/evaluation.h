// Evaluate: what a saved model says of the held-out data of a simulation, as a whole and of each
// client's own part.
#ifndef TRIBUTARY_SIMULATOR_EVALUATION_H_
#define TRIBUTARY_SIMULATOR_EVALUATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client_sdk/trainer.h"
#include "common/params/param_vector.h"
#include "nlohmann/json.hpp"
#include "simulator/simulation_spec.h"

namespace tributary {

struct Evaluation {
  struct Client {
    std::string name;   // the owner's in the data, else its number there
    EvalResult result;  // on what the owner has in the test set; no examples: nothing
  };
  EvalResult all;               // on the whole test set
  std::vector<Client> clients;  // in the order of the run's clients; empty: see Evaluate
};

// Evaluates `model`, as a run of `file` leaves it, on the test set of `task`, from 0. With the
// partition `natural` on every client's part of that, too, where the test set has owners; other
// partitions deal out training examples alone. InvalidArgument: the file's data or model do not do,
// and where; there is no such task; `model` is of another layout. OutOfRange: the loss is not
// finite.
absl::StatusOr<Evaluation> Evaluate(const SimulationFile& file, const ParamVector& model,
                                    int64_t task);

// {all: {examples, loss, accuracy, <metrics>…}, clients: [{name, examples, …}, …]}
nlohmann::json EvaluationJson(const Evaluation& evaluation);
// The same for people; the first row is the heading, the second `all`.
std::vector<std::vector<std::string>> EvaluationTable(const Evaluation& evaluation);

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EVALUATION_H_
