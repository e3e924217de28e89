#include "common/codec/adapter_update.h"

#include <utility>

#include "common/codec/update_payload.h"

namespace tributary {
namespace {

// The rank of the factor B that stayed with a client; 0: there is none of this plan's.
int64_t OwnRank(const LoraPlan& plan, const Residual* own) {
  if (own == nullptr || own->values.empty() || !plan.rule().own_b()) return 0;
  const ParamLayout& layout = *own->values.layout();
  const auto* const first = layout.Find(FactorName(plan.modules().front().name, 'B'));
  if (first == nullptr || first->shape.size() != 2 || first->shape[1] < 1) return 0;
  const int64_t rank = first->shape[1];
  const LayoutPtr expected = plan.AdapterLayout(rank, AdapterFactors::kB);
  return expected->digest() == layout.digest() ? rank : 0;
}

}  // namespace

ParamVector BeginAdapter(const AdapterOrder& order, const ParamVector& model, const Residual* own) {
  ParamVector start = order.plan.StartAdapter(model, order.rank, order.seed);
  if (OwnRank(order.plan, own) == order.rank) CopyShared(own->values, start);
  return start;
}

EncodedUpdate EncodeAdapter(const Codec& codec, const AdapterOrder& order, const ParamVector& start,
                            const ParamVector& trained) {
  const LoraPlan& plan = order.plan;
  const ParamVector sent = plan.Sent(trained, start, order.rank, order.base);
  EncodedUpdate encoded;
  encoded.payload = EncodeUpdate(
      codec, sent,
      {.layout = sent.layout(), .rng = Rng(order.seed).Split("codec"), .version = order.base});
  if (plan.rule().own_b()) {
    Residual own{.values = ParamVector(plan.AdapterLayout(order.rank, AdapterFactors::kB))};
    CopyShared(trained, own.values);
    encoded.residual = std::move(own);
  }
  return encoded;
}

ParamVector EvaluatedModel(const LoraPlan& plan, const ParamVector& model, const Residual* own) {
  const int64_t rank = OwnRank(plan, own);
  if (rank == 0) return plan.Merged(model);
  ParamVector adapter = plan.StartAdapter(model, rank, /*order_seed=*/0);
  CopyShared(own->values, adapter);
  return plan.Merged(model, adapter, rank);
}

}  // namespace tributary
