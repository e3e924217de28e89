#include "aggregators/transform/subspace_basis.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::IsEmpty;
using ::testing::Pointwise;
using ::testing::SizeIs;

using Matrix = std::vector<std::vector<double>>;  // rows

constexpr EnergyCriterion kExact = EnergyCriterion::kExact;
constexpr EnergyCriterion kReference = EnergyCriterion::kReference;

Matrix RandomMatrix(size_t rows, size_t columns, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, std::vector<double>(columns));
  for (auto& row : m) {
    for (double& x : row) x = rng.Normal();
  }
  return m;
}

Matrix Product(const Matrix& a, const Matrix& b) {
  Matrix c(a.size(), std::vector<double>(b[0].size()));
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < b.size(); ++k) {
      for (size_t j = 0; j < b[0].size(); ++j) c[i][j] += a[i][k] * b[k][j];
    }
  }
  return c;
}

// As a client does: the upper triangle of A·Aᵀ in float32.
std::vector<double> PackedGram(const Matrix& a) {
  std::vector<double> packed;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = i; j < a.size(); ++j) {
      double sum = 0;
      for (size_t k = 0; k < a[i].size(); ++k) sum += a[i][k] * a[j][k];
      packed.push_back(static_cast<float>(sum));
    }
  }
  return packed;
}

InputEnergy EnergyOf(const Matrix& a) {
  return EnergyOfGram(static_cast<int64_t>(a.size()), PackedGram(a));
}

std::vector<float> Grow(const std::vector<float>& basis, const InputEnergy& energy, double epsilon,
                        EnergyCriterion criterion = kExact) {
  std::vector<float> grown = basis;
  const auto added = NewDirections(basis, energy, epsilon, criterion);
  grown.insert(grown.end(), added.begin(), added.end());
  return grown;
}

// VᵀV, [d, d].
std::vector<double> Projector(const std::vector<float>& basis, size_t dim) {
  std::vector<double> p(dim * dim);
  for (size_t v = 0; v < basis.size(); v += dim) {
    for (size_t i = 0; i < dim; ++i) {
      for (size_t j = 0; j < dim; ++j) p[i * dim + j] += double{basis[v + i]} * basis[v + j];
    }
  }
  return p;
}

double LargestDefect(const std::vector<float>& basis, size_t dim) {
  double worst = 0;
  for (size_t a = 0; a < basis.size(); a += dim) {
    for (size_t b = 0; b <= a; b += dim) {
      double dot = a == b ? -1 : 0;
      for (size_t i = 0; i < dim; ++i) dot += double{basis[a + i]} * basis[b + i];
      worst = std::max(worst, std::abs(dot));
    }
  }
  return worst;
}

// Share of ‖A‖² that the basis explains.
double Explained(const std::vector<float>& basis, const Matrix& a) {
  double inside = 0, all = 0;
  for (size_t column = 0; column < a[0].size(); ++column) {
    for (size_t v = 0; v < basis.size(); v += a.size()) {
      double dot = 0;
      for (size_t i = 0; i < a.size(); ++i) dot += basis[v + i] * a[i][column];
      inside += dot * dot;
    }
    for (const auto& row : a) all += row[column] * row[column];
  }
  return inside / all;
}

const Matrix kFirstTask = {{3, 0, 3, 0}, {0, 1, 0, 1}, {0, 0, 0, 0}};  // energies 18, 2, 0
const Matrix kSecondTask = {{2, 0}, {0, 2}, {1, 1}};
const std::vector<float> kE1 = {1, 0, 0};

TEST(NewDirectionsTest, TheFirstTaskAddsAsFewAsExplainTheEnergy) {
  const InputEnergy energy = EnergyOf(kFirstTask);
  EXPECT_DOUBLE_EQ(energy.total, 20);
  EXPECT_THAT(Projector(Grow({}, energy, 0.85), 3),
              Pointwise(DoubleNear(1e-6), std::vector<double>{1, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_THAT(Projector(Grow({}, energy, 0.95), 3),
              Pointwise(DoubleNear(1e-6), std::vector<double>{1, 0, 0, 0, 1, 0, 0, 0, 0}));
  EXPECT_THAT(Grow({}, energy, 0.9), SizeIs(3)) << "0.9 exactly is enough";
}

TEST(NewDirectionsTest, TheSecondTaskAddsWhatTheFirstDoesNotExplain) {
  // E_A = 10, E_R = 6, energies of R 5.236068 and 0.763932: shares 0.872678 and 1.
  const InputEnergy energy = EnergyOf(kSecondTask);
  EXPECT_DOUBLE_EQ(energy.total, 10);
  const std::vector<float> one = NewDirections(kE1, energy, 0.9, kExact);
  ASSERT_THAT(one, SizeIs(3));
  const float sign = one[1] > 0 ? 1 : -1;
  EXPECT_THAT(one, ElementsAre(FloatNear(0, 1e-6F), FloatNear(sign * 0.850651F, 1e-6F),
                               FloatNear(sign * 0.525731F, 1e-6F)));
  EXPECT_THAT(NewDirections(kE1, energy, 0.9, kReference), SizeIs(3));
  EXPECT_THAT(NewDirections(kE1, energy, 0.92, kExact), SizeIs(3));
  EXPECT_THAT(NewDirections(kE1, energy, 0.92, kReference), SizeIs(6));
  EXPECT_THAT(NewDirections(kE1, energy, 0.3, kExact), IsEmpty());
  EXPECT_THAT(NewDirections(kE1, energy, 0.3, kReference), SizeIs(3));
}

TEST(NewDirectionsTest, NothingNewAddsNothing) {
  const Matrix inside = {{4, 1}, {0, 0}, {0, 0}};
  for (const EnergyCriterion criterion : {kExact, kReference}) {
    EXPECT_THAT(NewDirections(kE1, EnergyOf(inside), 1.0, criterion), IsEmpty());
    EXPECT_THAT(NewDirections(kE1, EnergyOf({{0}, {0}, {0}}), 1.0, criterion), IsEmpty());
    EXPECT_THAT(NewDirections({}, EnergyOf(kFirstTask), 0.0, criterion), IsEmpty());
    EXPECT_THAT(NewDirections({1, 0, 0, 0, 1, 0, 0, 0, 1}, EnergyOf(kSecondTask), 1.0, criterion),
                IsEmpty());
  }
}

TEST(NewDirectionsTest, WithAllTheEnergyTheRankIsThatOfTheInputs) {
  const Matrix a = Product(RandomMatrix(40, 7, 1), RandomMatrix(7, 100, 2));
  const std::vector<float> basis = Grow({}, EnergyOf(a), 1.0);
  EXPECT_THAT(basis, SizeIs(7 * 40)) << "rounding to float32 is no direction";
  EXPECT_NEAR(Explained(basis, a), 1.0, 1e-7);
  EXPECT_THAT(Grow(basis, EnergyOf(a), 1.0), SizeIs(7 * 40));
}

TEST(NewDirectionsTest, GrowsOrthonormalExplainsItsShareAndStaysWithinTheDimension) {
  constexpr size_t kDim = 24;
  for (const double epsilon : {0.5, 0.8, 0.95, 0.99, 1.0}) {
    std::vector<float> basis;
    for (uint64_t task = 0; task < 8; ++task) {
      const Matrix a = Product(RandomMatrix(kDim, 5, 10 + task), RandomMatrix(5, 60, 20 + task));
      const std::vector<float> grown = Grow(basis, EnergyOf(a), epsilon);
      ASSERT_TRUE(std::equal(basis.begin(), basis.end(), grown.begin())) << "what was known stays";
      basis = grown;
      EXPECT_LE(basis.size(), kDim * kDim);
      EXPECT_LT(LargestDefect(basis, kDim), 1e-6);
      EXPECT_GE(Explained(basis, a), epsilon - 1e-6);
      // The last direction was needed, unless they are all there is.
      std::vector<float> fewer(basis.begin(), basis.end() - (basis.empty() ? 0 : kDim));
      if (epsilon < 1 && basis.size() < kDim * kDim && task == 0) {
        EXPECT_LT(Explained(fewer, a), epsilon);
      }
    }
  }
}

TEST(EnergyOfSketchTest, SketchesAddUpToOneOfAllTheInputs) {
  const Matrix a1 = RandomMatrix(6, 9, 1), a2 = RandomMatrix(6, 5, 2);
  const Matrix g1 = RandomMatrix(9, 12, 3), g2 = RandomMatrix(5, 12, 4);
  Matrix a = a1, g = g1;
  for (size_t i = 0; i < 6; ++i) a[i].insert(a[i].end(), a2[i].begin(), a2[i].end());
  g.insert(g.end(), g2.begin(), g2.end());
  const Matrix whole = Product(a, g), one = Product(a1, g1), two = Product(a2, g2);
  std::vector<double> sum, together;
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < 12; ++j) {
      sum.push_back(one[i][j] + two[i][j]);
      together.push_back(whole[i][j]);
    }
  }
  EXPECT_THAT(EnergyOfSketch(6, sum, 1).gram,
              Pointwise(DoubleNear(1e-9), EnergyOfSketch(6, together, 1).gram));
}

TEST(EnergyOfSketchTest, FindsTheDirectionsThatTheGramMatrixHas) {
  // Rank 3 in 20 dimensions: a sketch of 20 columns spans the same space.
  const Matrix a = Product(RandomMatrix(20, 3, 5), RandomMatrix(3, 200, 6));
  const Matrix y = Product(a, RandomMatrix(200, 20, 7));
  std::vector<double> flat;
  for (const auto& row : y) flat.insert(flat.end(), row.begin(), row.end());
  double total = 0;
  for (const auto& row : a) {
    for (const double x : row) total += x * x;
  }
  const std::vector<float> sketched = Grow({}, EnergyOfSketch(20, flat, total), 1.0);
  const std::vector<float> exact = Grow({}, EnergyOf(a), 1.0);
  ASSERT_THAT(sketched, SizeIs(3 * 20));
  EXPECT_THAT(Projector(sketched, 20), Pointwise(DoubleNear(1e-5), Projector(exact, 20)));
}

TEST(EnergyOfSketchTest, EstimatesTheGramMatrixBetterWithMoreColumns) {
  const Matrix a = RandomMatrix(10, 50, 8);
  const InputEnergy exact = EnergyOf(a);
  const auto error = [&](size_t columns) {
    double sum = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Matrix y = Product(a, RandomMatrix(50, columns, 100 + seed));
      std::vector<double> flat;
      for (const auto& row : y) flat.insert(flat.end(), row.begin(), row.end());
      const InputEnergy energy = EnergyOfSketch(10, flat, exact.total);
      for (size_t i = 0; i < 100; ++i) {
        sum += std::pow((energy.gram[i] - exact.gram[i]) / exact.total, 2);
      }
    }
    return std::sqrt(sum / 20);
  };
  const double few = error(10), many = error(250);
  EXPECT_NEAR(few / many, 5.0, 1.0) << "the error falls with the root of the columns";
}

}  // namespace
}  // namespace tributary
