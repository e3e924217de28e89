// ServerOptimizer: delta -> step, what the next model has more than this one. The delta plays the
// part of a negative gradient: it is added (FedOpt, Reddi et al. 2021, Algorithm 2).
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_SERVER_OPTIMIZER_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_SERVER_OPTIMIZER_H_

#include <functional>
#include <limits>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "aggregators/effect.h"
#include "aggregators/parallel.h"
#include "aggregators/state.h"
#include "common/lora/low_rank.h"
#include "common/params/param_layout.h"
#include "common/registry.h"

namespace tributary {

// What is known of the updates behind a delta.
struct DeltaOrigin {
  double mean_staleness = 0;  // versions between an update's base and its use
  double repeated = 0;        // share of the updates whose client and base the last delta had too
  // What the factor on the clients' learning rate may not pass: above it most of them diverge.
  double client_rate_limit = std::numeric_limits<double>::infinity();
  // Before any transform: the delta's squared norm, and the updates' own, combined as the updates
  // were. The second is 0 unless uses_squared_norms().
  double squared_norm = 0;
  double update_squared_norms = 0;
};

// Thread-compatible.
class ServerOptimizer {
 public:
  virtual ~ServerOptimizer() = default;

  // Turns the delta's trainable coordinates into the step, in place. A step depends on deltas,
  // never on the model, which is therefore not in memory meanwhile. Buffers are not its business.
  // InvalidArgument if the size differs from the layout's trainable part, or the restored state's.
  virtual absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) = 0;

  // The same for a delta that is to leave no trace in a momentum and to take nothing from it.
  // What adapts its rate to each coordinate has no such step: it takes an ordinary one.
  virtual absl::Status StepBesideMomentum(absl::Span<float> delta, const DeltaOrigin& origin) {
    return Step(delta, origin);
  }

  // The same as Step, or as StepBesideMomentum, for what adapters add to frozen weights, by module,
  // whose rank does not grow. Only where takes_low_rank(); one object is asked for one of the
  // kinds.
  virtual absl::Status StepLowRank(LowRankModel& /*delta*/, const DeltaOrigin& /*origin*/,
                                   bool /*beside_momentum*/) {
    return absl::UnimplementedError("this optimizer changes dense deltas only");
  }
  virtual bool takes_low_rank() const { return false; }

  // The deltas to come are of another kind than those seen (a task has ended, a mask has changed).
  // `project` takes out of a vector what no delta may contain from now on. What is remembered of
  // earlier deltas is projected or forgotten.
  using Project = std::function<absl::Status(absl::Span<float>)>;
  virtual absl::Status BeginEpoch(const Project& /*project*/) { return absl::OkStatus(); }

  // The factor on the delta in the last Step: the server_rate of metrics.csv.
  virtual double rate() const = 0;
  // The factor on the clients' learning rate from now on: the client_rate of metrics.csv.
  virtual double client_rate() const { return 1.0; }

  // Whether a step depends on DeltaOrigin::update_squared_norms.
  virtual bool uses_squared_norms() const { return false; }

  virtual Effect effect() const = 0;

  virtual StateRefs State() { return {}; }
};

struct OptimizerDeps {
  LayoutPtr layout;  // null: only to check options and ask for effect()
  Parallel* parallel = nullptr;
};

const Registry<ServerOptimizer, const OptimizerDeps&>& OptimizerRegistry();

// For implementations. InvalidArgument unless the delta is as long as the trainable part.
absl::Status CheckSize(const ParamLayout& layout, absl::Span<const float> delta);
// Makes a vector of the state that is not yet there, every value `initial`. InvalidArgument if
// it is there (restored) and of another layout.
absl::Status EnsureState(const LayoutPtr& layout, float initial, absl::string_view name,
                         ParamVector& state);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_SERVER_OPTIMIZER_H_
