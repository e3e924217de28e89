// TaskTime: how long one client takes for a work order of q local steps, learned from what it
// did. Everything is in there: download, training, upload, waiting at the server.
//
//   scalar   T(q) = b·q            b ← (1 − ρ)·b + ρ·obs,  obs = duration / steps
//   affine   T(q) = a + b·q        least squares, old observations fade; a >= 0, b > 0
//
// The scalar form is FedCompass's (Li et al. 2024, Algorithm 1); its arithmetic is exact in
// integer nanoseconds, so that two clients alike get steps alike. The affine form keeps a slow
// network from being taken for a slow processor: a is what a work order costs whatever its size.
// It forgets slowly, so that noise averages out; where orders of more steps took less time, it
// starts afresh from the latest.
#ifndef TRIBUTARY_SCHEDULERS_TASK_TIME_H_
#define TRIBUTARY_SCHEDULERS_TASK_TIME_H_

#include <cstdint>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace tributary {

// Thread-compatible.
class TaskTime {
 public:
  struct Model {
    bool affine = false;
    int64_t momentum_ppm = 900'000;  // ρ, in millionths: the weight of a new observation
  };

  // `steps` >= 1.
  void Observe(absl::Duration duration, int64_t steps, const Model& model);

  bool known() const { return observations_ > 0; }

  // T(q), > 0.
  absl::Duration Predict(int64_t steps) const;
  // The largest q with T(q) <= time; 0 or less if there is none.
  int64_t StepsWithin(absl::Duration time) const;
  // b: what one more step takes, >= 1 ns.
  absl::Duration per_step() const { return absl::Nanoseconds(step_ns_); }

  // Coefficient of variation of the durations around what had been predicted; 0 until the second
  // observation, with the affine form the third.
  double variation() const;

  NLOHMANN_DEFINE_TYPE_INTRUSIVE(TaskTime, step_ns_, fixed_ns_, observations_, error_, w_, q_, qq_,
                                 t_, qt_)

 private:
  void Fit(int64_t ns, int64_t steps);

  int64_t step_ns_ = 1;
  int64_t fixed_ns_ = 0;
  int64_t observations_ = 0;
  double error_ = 0;  // mean square of the relative error, fading
  // Affine: fading sums over observations of 1, q, q², t and q·t.
  double w_ = 0, q_ = 0, qq_ = 0, t_ = 0, qt_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_TASK_TIME_H_
