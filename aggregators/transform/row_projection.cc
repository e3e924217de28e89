#include "aggregators/transform/row_projection.h"

#include <cblas.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/params/param_vector.h"

// Of the OpenMP runtime that BLAS runs on.
extern "C" void omp_set_num_threads(int threads);

namespace tributary {
namespace {

constexpr int kRestarts = 4;  // each from the true residual
constexpr int kSteps = 50;    // of conjugate gradients between them

// The rows of one call and what is computed beside them.
class Block {
 public:
  Block(int64_t dim, absl::Span<const float> directions, absl::Span<const float> keep,
        absl::Span<float> rows)
      : dim_(static_cast<size_t>(dim)),
        rank_(directions.size() / dim_),
        count_(rows.size() / dim_),
        directions_(directions),
        keep_(keep),
        rows_(rows),
        residual_(count_ * rank_) {
    TRIB_CHECK(rank_ * dim_ == directions.size() && count_ * dim_ == rows.size() && rank_ > 0);
    TRIB_CHECK(keep.empty() || keep.size() == rows.size());
  }

  void Project() {
    Components(rows_, absl::MakeSpan(residual_));
    Combine(-1.0F, residual_, 1.0F, rows_);
  }

  int64_t ProjectInsideMask();

 private:
  absl::Span<float> Row(absl::Span<float> of, size_t width, size_t i) const {
    return of.subspan(i * width, width);
  }

  // c = x·Vᵀ: [n, k] of [n, d].
  void Components(absl::Span<const float> x, absl::Span<float> c) const {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, Int(count_), Int(rank_), Int(dim_), 1.0F,
                x.data(), Int(dim_), directions_.data(), Int(dim_), 0.0F, c.data(), Int(rank_));
  }
  // x = alpha·c·V + beta·x: [n, d] of [n, k].
  void Combine(float alpha, absl::Span<const float> c, float beta, absl::Span<float> x) const {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, Int(count_), Int(dim_), Int(rank_),
                alpha, c.data(), Int(rank_), directions_.data(), Int(dim_), beta, x.data(),
                Int(dim_));
  }
  void ClearPruned(absl::Span<float> x) const {
    for (size_t i = 0; i < x.size(); ++i) x[i] *= keep_[i];
  }
  static int Int(size_t n) { return static_cast<int>(n); }

  // Lowers the residual of the rows in which it is above `goal`, its squared norm.
  void Descend(absl::Span<const double> goal);

  const size_t dim_, rank_, count_;
  const absl::Span<const float> directions_, keep_;
  const absl::Span<float> rows_;
  std::vector<float> residual_;  // V·x [n, k]
};

void Block::Descend(absl::Span<const double> goal) {
  std::vector<double> squared(count_);
  std::vector<float> search = residual_, image(residual_.size()), step(rows_.size());
  const auto size = [&](size_t i) { return SquaredNorm(Row(absl::MakeSpan(residual_), rank_, i)); };
  for (size_t i = 0; i < count_; ++i) squared[i] = size(i);
  for (int s = 0; s < kSteps; ++s) {
    Combine(1.0F, search, 0.0F, absl::MakeSpan(step));
    ClearPruned(absl::MakeSpan(step));
    Components(step, absl::MakeSpan(image));
    bool done = true;
    for (size_t i = 0; i < count_; ++i) {
      const absl::Span<float> direction = Row(absl::MakeSpan(search), rank_, i);
      const absl::Span<float> move = Row(absl::MakeSpan(step), dim_, i);
      const double curvature = SquaredNorm(move);
      if (squared[i] <= goal[i] || curvature <= 0) {
        std::fill(direction.begin(), direction.end(), 0.0F);
        continue;
      }
      const auto length = static_cast<float>(squared[i] / curvature);
      const absl::Span<float> residual = Row(absl::MakeSpan(residual_), rank_, i);
      AddScaled(-length, move, Row(rows_, dim_, i));
      AddScaled(-length, Row(absl::MakeSpan(image), rank_, i), residual);
      const double before = std::exchange(squared[i], size(i));
      Scale(static_cast<float>(squared[i] / before), direction);
      AddScaled(1.0F, residual, direction);
      done = done && squared[i] <= goal[i];
    }
    if (done) return;
  }
}

int64_t Block::ProjectInsideMask() {
  ClearPruned(rows_);
  std::vector<double> before(count_), goal(count_);
  for (size_t i = 0; i < count_; ++i) {
    before[i] = SquaredNorm(Row(rows_, dim_, i));
    goal[i] = kOrthogonality * kOrthogonality * static_cast<double>(rank_) * before[i];
  }
  const auto is_open = [&](size_t i) {
    return SquaredNorm(Row(absl::MakeSpan(residual_), rank_, i)) > goal[i];
  };
  std::vector<double> inner(goal);
  for (double& value : inner) value /= 4;
  for (int restart = 0;; ++restart) {
    Components(rows_, absl::MakeSpan(residual_));
    bool open = false;
    for (size_t i = 0; i < count_; ++i) open = open || is_open(i);
    if (!open || restart == kRestarts) break;
    Descend(inner);
  }
  int64_t cleared = 0;
  for (size_t i = 0; i < count_; ++i) {
    const absl::Span<float> row = Row(rows_, dim_, i);
    const absl::Span<const float> keep = keep_.subspan(i * dim_, dim_);
    // With no more coordinates than directions, what is left may be rounding and nothing else.
    const bool rounding = std::count(keep.begin(), keep.end(), 1.0F) <= Int(rank_) &&
                          SquaredNorm(row) <= 1e-6 * before[i];
    if (!rounding && !is_open(i)) continue;
    cleared += rounding ? 0 : 1;
    std::fill(row.begin(), row.end(), 0.0F);
  }
  return cleared;
}

}  // namespace

int64_t ProjectRows(int64_t dim, absl::Span<const float> directions, absl::Span<const float> keep,
                    absl::Span<float> rows) {
  omp_set_num_threads(1);  // on this thread: callers bring their own, and the bits stay the same
  Block block(dim, directions, keep, rows);
  if (!keep.empty()) return block.ProjectInsideMask();
  block.Project();
  return 0;
}

}  // namespace tributary
