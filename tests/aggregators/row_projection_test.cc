#include "aggregators/transform/row_projection.h"

#include <cmath>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"

namespace tributary {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::tributary::test::ParamsNear;

std::vector<float> Normal(size_t size, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(size);
  for (float& x : values) x = static_cast<float>(rng.Normal());
  return values;
}

// `rank` orthonormal rows of `dim`: Gram and Schmidt, twice, in double.
std::vector<float> Directions(size_t rank, size_t dim, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::vector<double>> rows;
  while (rows.size() < rank) {
    std::vector<double> v(dim);
    for (double& x : v) x = rng.Normal();
    for (int pass = 0; pass < 2; ++pass) {
      for (const auto& row : rows) {
        double dot = 0;
        for (size_t i = 0; i < dim; ++i) dot += row[i] * v[i];
        for (size_t i = 0; i < dim; ++i) v[i] -= dot * row[i];
      }
    }
    double norm = 0;
    for (const double x : v) norm += x * x;
    for (double& x : v) x /= std::sqrt(norm);
    rows.push_back(v);
  }
  std::vector<float> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

std::vector<float> Keep(size_t size, double density, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> keep(size);
  for (float& x : keep) x = rng.Bernoulli(density) ? 1.0F : 0.0F;
  return keep;
}

double Norm(const std::vector<float>& x) { return std::sqrt(SquaredNorm(x)); }

// ‖V·x‖ over all rows.
double Leak(const std::vector<float>& directions, const std::vector<float>& rows, size_t dim) {
  double sum = 0;
  for (size_t r = 0; r < rows.size(); r += dim) {
    for (size_t v = 0; v < directions.size(); v += dim) {
      const double dot = Dot(absl::MakeConstSpan(rows).subspan(r, dim),
                             absl::MakeConstSpan(directions).subspan(v, dim));
      sum += dot * dot;
    }
  }
  return std::sqrt(sum);
}

std::vector<float> Project(size_t dim, const std::vector<float>& directions,
                           std::vector<float> rows, const std::vector<float>& keep = {}) {
  EXPECT_EQ(ProjectRows(static_cast<int64_t>(dim), directions, keep, absl::MakeSpan(rows)), 0);
  return rows;
}

TEST(ProjectRowsTest, RemovesWhatTheDirectionsSee) {
  EXPECT_THAT(Project(3, {1, 0, 0}, {2, 1, -1, 0.5F, -3, 4}), ElementsAre(0, 1, -1, 0, -3, 4));
  EXPECT_THAT(Project(3, {0.6F, 0.8F, 0}, {2, 1, -1, 0.5F, -3, 4}),
              ParamsNear({0.8F, -0.6F, -1, 1.76F, -1.32F, 4}, 1e-6));
}

TEST(ProjectRowsTest, InsideAMaskItIsNeitherOrderOfTheTwo) {
  // Cleared and projected: (1.28, −0.96, −1), outside the mask. Projected and cleared:
  // (0.8, 0, −1), which is not orthogonal. Both together:
  const std::vector<float> u = {0.6F, 0.8F, 0}, keep = {1, 0, 1};
  EXPECT_THAT(Project(3, u, {2, 1, -1}, keep), ParamsNear({0, 0, -1}, 1e-6));
}

TEST(ProjectRowsTest, ARowThatKeepsNoMoreThanTheDirectionsSeeIsFrozen) {
  const std::vector<float> v = {0.6F, 0.8F, 0, 0, 0, 0, 0.6F, 0.8F};
  EXPECT_THAT(Project(4, v, {1, 2, 3, 4}, {1, 0, 1, 0}), Each(0.0F));
  EXPECT_THAT(Project(4, v, {1, 2, 3, 4}, {1, 0, 0, 0}), Each(0.0F));
  EXPECT_THAT(Project(4, v, {1, 2, 3, 4}, {0, 0, 0, 0}), Each(0.0F));
  // Three of four: one way is left, along (0.8, −0.6, 0, 0).
  EXPECT_THAT(Project(4, v, {1, 2, 3, 4}, {1, 1, 1, 0}), ParamsNear({-0.32F, 0.24F, 0, 0}, 1e-5));
}

TEST(ProjectRowsTest, IsOrthogonalAndIdempotentInFloat32) {
  for (const size_t rank : {1, 7, 60, 199, 200}) {
    const std::vector<float> v = Directions(rank, 200, rank), rows = Normal(30 * 200, 1);
    const std::vector<float> once = Project(200, v, rows);
    EXPECT_LE(Leak(v, once, 200), 1e-6 * std::sqrt(rank) * Norm(rows)) << rank;
    EXPECT_THAT(Project(200, v, once), ParamsNear(once, 5e-6)) << rank;
  }
}

TEST(ProjectRowsTest, AMaskThatKeepsEverythingChangesNothing) {
  const std::vector<float> v = Directions(20, 64, 3), rows = Normal(9 * 64, 4);
  EXPECT_THAT(Project(64, v, rows, std::vector<float>(rows.size(), 1.0F)),
              ParamsNear(Project(64, v, rows), 2e-6));
}

// Over densities and ranks, also where nearly nothing or nothing is left to a row.
TEST(ProjectRowsTest, SatisfiesBothForEveryRowWhateverItKeeps) {
  constexpr size_t kDim = 120, kRows = 40;
  for (const size_t rank : {1, 12, 60, 84, 110}) {
    const std::vector<float> v = Directions(rank, kDim, 7), rows = Normal(kRows * kDim, 8);
    for (const double density : {0.1, 0.5, 0.7, 0.72, 0.95}) {
      const std::vector<float> keep = Keep(rows.size(), density, 9);
      std::vector<float> projected = rows;
      const int64_t cleared = ProjectRows(kDim, v, keep, absl::MakeSpan(projected));
      EXPECT_LE(Leak(v, projected, kDim), 1e-6 * std::sqrt(rank) * Norm(rows));
      for (size_t i = 0; i < rows.size(); ++i) {
        if (keep[i] == 0) {
          ASSERT_EQ(projected[i], 0.0F);
        }
      }
      EXPECT_LE(cleared, static_cast<int64_t>(kRows) / 8) << rank << " " << density;
    }
  }
}

// x − P(x) of an orthogonal projection P is orthogonal to all that P leaves alone: so no other row
// within both constraints is nearer.
TEST(ProjectRowsTest, IsTheNearestRowThatSatisfiesBoth) {
  constexpr size_t kDim = 50;
  const std::vector<float> v = Directions(15, kDim, 1);
  const std::vector<float> keep = Keep(kDim, 0.6, 2);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> x = Normal(kDim, 10 + seed), p = Project(kDim, v, x, keep);
    const std::vector<float> other = Project(kDim, v, Normal(kDim, 90 + seed), keep);
    std::vector<float> removed = x;
    AddScaled(-1, p, absl::MakeSpan(removed));
    EXPECT_NEAR(Dot(removed, other), 0, 1e-4);
    EXPECT_THAT(Project(kDim, v, p, keep), ParamsNear(p, 1e-5)) << "idempotent";
  }
}

TEST(ProjectRowsTest, RowsDoNotSeeEachOther) {
  constexpr size_t kDim = 32;
  const std::vector<float> v = Directions(9, kDim, 1), keep = Keep(8 * kDim, 0.7, 2);
  const std::vector<float> rows = Normal(8 * kDim, 3), all = Project(kDim, v, rows, keep);
  for (size_t r = 0; r < 8; ++r) {
    const auto part = [&](const std::vector<float>& of) {
      return std::vector<float>(of.begin() + r * kDim, of.begin() + (r + 1) * kDim);
    };
    EXPECT_THAT(Project(kDim, v, part(rows), part(keep)), ParamsNear(part(all), 1e-5));
  }
}

}  // namespace
}  // namespace tributary
