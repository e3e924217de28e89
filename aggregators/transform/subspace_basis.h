// The subspace that a layer's inputs of earlier tasks span, as orthonormal directions that grow
// from task to task (Bakman et al. 2024, "Federated Orthogonal Training", ICLR, arXiv 2309.01289;
// the energy criterion is that of Saha et al. 2021, "Gradient Projection Memory", ICLR).
//
//   A  inputs of the new task, one a column [d, n]     V  directions so far, one a row [k, d]
//   R = A − Vᵀ(V·A)  what V does not explain           E_A = ‖A‖²,  E_R = ‖R‖²,  ρ² = E_R / E_A
//
// The directions of R with the most energy are added, as few as explain the share ε' of E_R:
//
//   exact      ε' = (ρ² − (1 − ε)) / ρ²    V then explains the share ε of E_A
//   reference  ε' = (ρ − (1 − ε)) / ρ      larger: the authors' code compares norms, not squares
//
// Everything is in double. R is taken here, from a sum over clients, so that they need no V.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_SUBSPACE_BASIS_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_SUBSPACE_BASIS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tributary {

// How the inputs' energy lies in space.
struct InputEnergy {
  int64_t dim = 0;           // d
  std::vector<double> gram;  // A·Aᵀ or an estimate of it, [d, d], symmetric
  double total = 0;          // E_A
  double resolution = 0;     // share of E_A below which `gram` holds nothing but rounding
};

// From A·Aᵀ itself, summed over clients: its upper triangle, row by row, [d·(d + 1) / 2], whose
// terms were rounded to float32.
InputEnergy EnergyOfGram(int64_t dim, absl::Span<const double> packed);

// From Y = Σ A_c·G_c [d, s] over clients c, where the entries of G_c are independent standard
// normal: E[Y·Yᵀ] = s·A·Aᵀ (Halko, Martinsson & Tropp 2011). `total`: E_A, which is exact.
InputEnergy EnergyOfSketch(int64_t dim, absl::Span<const double> sketch, double total);

enum class EnergyCriterion { kExact, kReference };

// Directions that are to be added after `directions` [k, d]: [r, d], of unit length, orthogonal to
// each other and to those, with 0 <= r <= d − k. None if there is no energy or ε' <= 0.
std::vector<float> NewDirections(absl::Span<const float> directions, const InputEnergy& energy,
                                 double epsilon, EnergyCriterion criterion);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_SUBSPACE_BASIS_H_
