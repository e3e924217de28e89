// SgdOptimizer: w ← w + η·delta. With η = 1 and fedavg this is federated averaging.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_SGD_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_SGD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct SgdOptions {
  double learning_rate = 1.0;  // η

  static void Describe(config::Fields<SgdOptions>& fields);
};

class SgdOptimizer final : public ServerOptimizer {
 public:
  using Options = SgdOptions;

  static absl::StatusOr<std::unique_ptr<SgdOptimizer>> Create(const Options& options,
                                                              const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  absl::Status StepLowRank(LowRankModel& delta, const DeltaOrigin& origin,
                           bool beside_momentum) override;
  bool takes_low_rank() const override { return true; }
  double rate() const override { return options_.learning_rate; }
  Effect effect() const override { return Effect::kScales; }

 private:
  SgdOptimizer(const Options& options, const OptimizerDeps& deps)
      : options_(options), deps_(deps) {}

  const Options options_;
  const OptimizerDeps deps_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_SGD_H_
