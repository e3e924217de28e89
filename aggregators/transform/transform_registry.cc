#include "aggregators/transform/clip.h"
#include "aggregators/transform/orthogonal_projection.h"
#include "aggregators/transform/prune_mask.h"
#include "aggregators/transform/update_transform.h"

namespace tributary {

const Registry<UpdateTransform, const TransformDeps&>& TransformRegistry() {
  using R = Registry<UpdateTransform, const TransformDeps&>;
  static const R* const registry =
      new R("transform",
            {
                R::Of<ClipTransform>("clip", "bound on the delta's L2 norm"),
                R::Of<PruneMask>("prune_mask", "keeps the weights that clients moved (AutoFLIP)"),
                R::Of<OrthogonalProjection>("orthogonal_projection",
                                            "keeps what earlier tasks taught (FOT)"),
            });
  return *registry;
}

}  // namespace tributary
