// What clients send of their adapters, and what of it is accepted.
//
//   y = W·x + s·B·A·x    W [m, n] is frozen; the client has trained A [r, n] and B [m, r]
//   s = α / r, or α / √r with rsLoRA: the client's own
//
// A module is known by its name: where m = r or n = r a shape does not say which factor it is.
#ifndef TRIBUTARY_AGGREGATORS_LORA_ADAPTER_H_
#define TRIBUTARY_AGGREGATORS_LORA_ADAPTER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/lora/lora_plan.h"
#include "common/lora/low_rank.h"

namespace tributary {

struct AdapterModule {
  std::string name;
  int64_t rank = 0;      // r
  double scale = 1;      // s
  std::vector<float> b;  // [m, r]; empty where clients send A alone
  std::vector<float> a;  // [r, n]; empty where clients send B alone
};

struct AdapterUpdate {
  WorkOrderId order = 0;
  double weight = 1;  // what it counts: usually its examples times its staleness factor
  std::vector<AdapterModule> modules;
};

struct MatrixShape {
  int64_t rows = 0;     // m, outputs
  int64_t columns = 0;  // n, inputs
};

// Of a factor's values, of a scale (and one over it) and of a product: far above what training
// gives, and low enough that no sum of them leaves float32.
inline constexpr float kMaxFactorValue = 1e18F;
inline constexpr double kMaxScale = 1e6;
inline constexpr double kMaxProductNorm = 1e18;

struct AdapterSpec {
  std::map<std::string, MatrixShape> modules;
  int64_t min_rank = 1;
  int64_t max_rank = 64;
  double max_product_norm = 1e6;  // ‖s·B·A‖_F of a module

  // InvalidArgument: no module, a name or a dimension that is empty, bounds that contradict or
  // are above kMaxProductNorm.
  absl::Status Validate() const;
};

// The plan's modules, the job's bounds.
AdapterSpec AdapterSpecOf(const LoraPlan& plan);

// A module that was found in order.
struct AcceptedModule {
  LowRank factors;  // without the scale
  double scale = 1;
  double norm = 0;  // ‖s·B·A‖_F
};
using AcceptedUpdate = std::map<std::string, AcceptedModule>;

// Checks an update whole: InvalidArgument names the module and the field, what was found and what
// is allowed; ResourceExhausted for a product whose norm is above the bound. `factors`: what must
// be there. The other one is taken from `start`, the adapter that the clients started from, as far
// as the rank goes; B from there has its scale in it already. Without it in `start`, factors.b
// stays empty, and the norm is that of A.
absl::StatusOr<AcceptedUpdate> Accept(const AdapterUpdate& update, const AdapterSpec& spec,
                                      AdapterFactors factors, const LowRankModel& start);

// Makes √Σ‖s·B·A‖²_F over all modules at most `bound`, by one common factor on every scale, which
// it returns: the joint clipping of products that central differential privacy needs. Both factors
// are there and well formed; bound > 0.
double ClipProducts(double bound, const AdapterSpec& spec, AdapterUpdate& update);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_ADAPTER_H_
