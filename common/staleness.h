// Staleness functions: how much less an update counts for every version published between
// its base and its application. The one place for schedulers and combine rules alike.
//
//   constant     s(τ) = 1
//   polynomial   s(τ) = (1 + τ)^(−a)
//   hinge        s(τ) = 1 for τ <= b, else 1 / (a·(τ − b) + 1)
//
// Xie, Koyejo & Gupta 2019, "Asynchronous federated optimization", section 5.2. FedBuff and
// FedCompass use the polynomial with a = 0.5.
#ifndef TRIBUTARY_COMMON_STALENESS_H_
#define TRIBUTARY_COMMON_STALENESS_H_

#include <cstdint>
#include <memory>

#include "common/config/schema.h"
#include "common/registry.h"

namespace tributary {

// Immutable, thread-safe.
class StalenessFunction {
 public:
  virtual ~StalenessFunction() = default;
  // In (0, 1], not increasing; 1 for 0. `staleness` >= 0. The same bits on every machine.
  virtual double At(int64_t staleness) const = 0;
};

// constant | polynomial | hinge
const Registry<StalenessFunction>& StalenessRegistry();

// Defaults for option structs.
config::Choice ConstantStaleness();
config::Choice PolynomialStaleness();  // a = 0.5

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_STALENESS_H_
