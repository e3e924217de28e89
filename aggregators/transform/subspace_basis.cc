#include "aggregators/transform/subspace_basis.h"

#include <algorithm>
#include <cmath>

#include "Eigen/Dense"
#include "common/check.h"

namespace tributary {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;
using ConstMatrixMap = Eigen::Map<const Matrix>;
using ConstFloatMap =
    Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

// Rounding moves the eigenvalues of a sum of float32 Gram matrices by at most 2^-24 of its trace;
// clients' own sums are allowed four times that. A sketch holds amplitudes, not energies.
constexpr double kGramResolution = 0x1p-22;
constexpr double kSketchResolution = 0x1p-44;

// Of a unit vector: what is left of one that the others explain.
constexpr double kDuplicate = 1e-6;

// Takes what the first `rows` rows of `basis` explain out of `v`, twice for the rounding.
void Orthogonalize(const Matrix& basis, Eigen::Index rows, Vector& v) {
  const auto known = basis.topRows(rows);
  for (int pass = 0; pass < 2; ++pass) v -= known.transpose() * (known * v);
}

}  // namespace

InputEnergy EnergyOfGram(int64_t dim, absl::Span<const double> packed) {
  TRIB_CHECK(static_cast<int64_t>(packed.size()) == dim * (dim + 1) / 2);
  InputEnergy energy{.dim = dim, .resolution = kGramResolution};
  energy.gram.resize(static_cast<size_t>(dim * dim));
  Eigen::Map<Matrix> gram(energy.gram.data(), dim, dim);
  const double* next = packed.data();
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t j = i; j < dim; ++j) gram(i, j) = gram(j, i) = *next++;
  }
  energy.total = gram.trace();
  return energy;
}

InputEnergy EnergyOfSketch(int64_t dim, absl::Span<const double> sketch, double total) {
  TRIB_CHECK(dim > 0 && sketch.size() % static_cast<size_t>(dim) == 0);
  InputEnergy energy{.dim = dim, .total = total, .resolution = kSketchResolution};
  energy.gram.resize(static_cast<size_t>(dim * dim));
  const auto columns = static_cast<Eigen::Index>(sketch.size()) / dim;
  const ConstMatrixMap y(sketch.data(), dim, columns);
  Eigen::Map<Matrix> gram(energy.gram.data(), dim, dim);
  gram.noalias() = y * y.transpose() / static_cast<double>(columns);
  return energy;
}

std::vector<float> NewDirections(absl::Span<const float> directions, const InputEnergy& energy,
                                 double epsilon, EnergyCriterion criterion) {
  const int64_t dim = energy.dim;
  const int64_t known = static_cast<int64_t>(directions.size()) / dim;
  TRIB_CHECK(known * dim == static_cast<int64_t>(directions.size()) && known <= dim);
  if (known == dim || !(energy.total > 0)) return {};
  Matrix basis(dim, dim);
  basis.topRows(known) = ConstFloatMap(directions.data(), known, dim).cast<double>();

  // R·Rᵀ = P·(A·Aᵀ)·P with P = I − VᵀV.
  Matrix residual = ConstMatrixMap(energy.gram.data(), dim, dim);
  if (known > 0) {
    const auto v = basis.topRows(known);
    const Matrix explained = v * residual;
    const Matrix core = explained * v.transpose();
    residual -= v.transpose() * explained;
    residual -= (explained.transpose() - v.transpose() * core) * v;
  }
  const double left = residual.trace();
  const double floor = energy.resolution * energy.total;
  if (!(left > floor)) return {};
  const double squared = known == 0 ? 1.0 : std::min(1.0, left / energy.total);
  const double rho = criterion == EnergyCriterion::kExact ? squared : std::sqrt(squared);
  const double share = (rho - (1 - epsilon)) / rho;
  if (share <= 0) return {};

  const Eigen::SelfAdjointEigenSolver<Matrix> solver(residual);
  TRIB_CHECK(solver.info() == Eigen::Success);
  std::vector<float> added;
  double covered = 0;
  Eigen::Index rank = known;
  for (Eigen::Index i = dim - 1; i >= 0 && rank < dim; --i) {  // the largest is last
    const double value = solver.eigenvalues()[i];
    if (value <= floor || covered >= (share - 1e-12) * left) break;
    covered += value;
    Vector v = solver.eigenvectors().col(i);
    Orthogonalize(basis, rank, v);
    if (v.norm() < kDuplicate) continue;
    basis.row(rank) = v.normalized().transpose();
    for (const double x : basis.row(rank)) added.push_back(static_cast<float>(x));
    ++rank;
  }
  return added;
}

}  // namespace tributary
