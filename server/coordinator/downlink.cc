#include "server/coordinator/downlink.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<Downlink>> Downlink::Create(const DownlinkSpec& spec) {
  TRIB_ASSIGN_OR_RETURN(auto delta, ModelDifference::Create(spec));
  return std::unique_ptr<Downlink>(new Downlink(std::move(delta)));
}

std::string Downlink::Encode(Version version, ParamVector before, ParamVector& model) {
  if (!residual_.empty()) AddScaled(1.0F, residual_.trainable(), model.trainable());
  residual_ = ParamVector();
  std::string bytes = delta_->Encode(version, before, model);
  if (bytes.size() >= model.values().size() * sizeof(float)) return "";
  if (delta_->exact()) return bytes;

  ParamVector view = std::move(before);
  TRIB_CHECK(delta_->Apply(version, bytes, view).ok());
  // A difference that is no float's.
  if (!CheckFinite(*view.layout(), view.values()).ok()) return "";
  residual_ = std::exchange(model, std::move(view));
  AddScaled(-1.0F, model.trainable(), residual_.trainable());
  std::fill(residual_.buffers().begin(), residual_.buffers().end(), 0.0F);
  return bytes;
}

}  // namespace tributary
