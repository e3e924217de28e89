// OrthogonalProjection: what earlier tasks have taught stays (FOT: Bakman et al. 2024, "Federated
// Orthogonal Training", ICLR, arXiv 2309.01289;
// docs/algorithms/orthogonal_projection.md has what differs).
//
//   D ← D − (D·Vᵀ)·V        for every protected layer
//
//   D  the layer's combined delta as a matrix [out, d]: one row for each output, d = in, or
//      channels · kernel height · kernel width in the order of im2col
//   V  what the layer's inputs of earlier tasks span, one direction a row [k, d]: the layer's
//      outputs for these inputs do not move
//
// At the end of each task clients sketch the inputs of their layers and V grows (subspace_basis.h).
// With a mask, rows also stay inside it (row_projection.h).
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_ORTHOGONAL_PROJECTION_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_ORTHOGONAL_PROJECTION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregators/transform/subspace_basis.h"
#include "aggregators/transform/update_transform.h"
#include "common/config/schema.h"

namespace tributary {

struct OrthogonalProjectionOptions {
  double energy = 0.95;           // ε of the first task
  double energy_increment = 0.0;  // what ε grows by with each task, up to 1
  std::string criterion = "exact";
  std::string method = "gram";
  double columns = 1.0;  // of a sketch, in multiples of d
  std::vector<std::string> layers = {"*"};
  std::vector<std::string> heads = {"heads.*"};
  std::string biases = "folded";

  static void Describe(config::Fields<OrthogonalProjectionOptions>& fields);
};

// What clients answer, for every protected layer in the layout's order, named after its weight w:
//   method gram    "w.gram" [d·(d + 1) / 2]: the upper triangle of A·Aᵀ, row by row
//   method sketch  "w.sketch" [d, s]: A·G, G fresh standard normal [n, s]; "w.energy" [1]: ‖A‖²
// over the columns of A, the layer's n inputs (im2col: one for each pixel of the output), with a 1
// as the last entry of each where the bias is folded. The request's options:
//   {"layers": [{"augmented": true, "dim": 785, "name": "fc1.weight"}, …], "method": "gram"}
class OrthogonalProjection final : public UpdateTransform {
 public:
  using Options = OrthogonalProjectionOptions;

  // InvalidArgument: a pattern that chooses nothing, a layer whose inputs have too many
  // dimensions, a layout with batch norm.
  static absl::StatusOr<std::unique_ptr<OrthogonalProjection>> Create(const Options& options,
                                                                      const TransformDeps& deps);

  // InvalidArgument if the mask is of another size.
  absl::Status Apply(Aggregate& aggregate, const TransformContext& context) override;
  // Rows of A instead of those of D: the rows of B·A are combinations of them. Biases do not move.
  absl::Status ApplyLowRank(LowRankModel& delta, const TransformContext& context) override;
  bool takes_low_rank() const override { return true; }
  Effect effect() const override { return Effect::kProjects; }

  const CollectRequest* collects() const override { return request_.get(); }
  // A task has ended. InvalidArgument: a sum of another size; OutOfRange: one that is not finite.
  absl::Status Learn(absl::Span<const double> sum, int64_t contributions, absl::Span<float> model,
                     const TransformContext& context) override;

  absl::Status Restored() override;
  // "basis": V of each layer under its name; "tasks": how many have ended.
  StateRefs State() override {
    return {.vectors = {{"basis", &basis_}}, .scalars = {{"tasks", &tasks_}}};
  }

 private:
  struct Layer {
    std::string name;
    int64_t out = 0;
    int64_t fan_in = 0;
    int64_t weight = 0;  // offset
    int64_t bias = -1;   // offset if it is folded, else -1
    std::string module;  // with adapters: its name
    int64_t dim() const { return fan_in + (bias >= 0 ? 1 : 0); }
  };

  OrthogonalProjection(const Options& options, const TransformDeps& deps)
      : options_(options), deps_(deps) {}

  absl::Status ChooseLayers();
  absl::Status ChooseModules();
  absl::Status CheckChoice(const std::vector<bool>& used) const;
  absl::Status MakeRequest();
  // Returns how many rows had to be cleared (row_projection.h).
  int64_t ProjectBlock(const Layer& layer, int64_t first_row, absl::Span<float> delta,
                       const Mask* mask) const;

  const Options options_;
  const TransformDeps deps_;
  std::vector<Layer> layers_;
  std::vector<CoordinateRange> frozen_;  // once there is a basis: they move all outputs
  std::unique_ptr<const CollectRequest> request_;

  ParamVector basis_;  // empty before the first task's end
  double tasks_ = 0;
  bool warned_ = false;  // of rows that were cleared, since the last task's end
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_ORTHOGONAL_PROJECTION_H_
