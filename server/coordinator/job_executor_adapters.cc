// What a JobExecutor does for a job that is tuned through adapters.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "server/coordinator/job_executor.h"

namespace tributary {

void JobExecutor::PutSizes(event::VersionPublished& published) const {
  if (plan_ == nullptr || published.version != 0) return;
  const auto bytes = [](int64_t values) { return values * static_cast<int64_t>(sizeof(float)); };
  published.model_bytes = bytes(plan_->ordinary()->size());
  published.adapter_bytes = bytes(plan_->AdapterLayout(1)->size());
}

absl::StatusOr<const LowRankModel*> JobExecutor::KeptAdapter(Version version) {
  const auto known = kept_adapters_.find(version);
  if (known != kept_adapters_.end()) return &known->second;
  LowRankModel kept;
  if (plan_->rule().keeps_adapter) {
    const auto model = store_->LoadModel(job_, version);
    if (absl::IsNotFound(model.status())) {
      return absl::FailedPreconditionError(
          absl::StrCat("version ", version, ", which this adapter began from, is stored no more"));
    }
    TRIB_RETURN_IF_ERROR(model.status());
    kept = plan_->KeptAdapter(*model);
  }
  while (std::ssize(kept_adapters_) >= spec_.keep_versions) {
    kept_adapters_.erase(kept_adapters_.begin());
  }
  return &(kept_adapters_[version] = std::move(kept));
}

absl::StatusOr<AdapterUpdate> JobExecutor::DecodeAdapter(const UpdateInfo& info,
                                                         PayloadBytes payload, uint64_t seed,
                                                         double rate_ratio) {
  const LoraSpec& spec = plan_->spec();
  if (info.adapter_rank < spec.min_rank() || info.adapter_rank > spec.max_rank()) {
    return absl::InvalidArgumentError(absl::StrCat("adapter_rank is ", info.adapter_rank,
                                                   "; allowed are ", spec.min_rank(), " to ",
                                                   spec.max_rank()));
  }
  const AdapterFactors sent = plan_->rule().SendsFrom(info.base_version);
  const LayoutPtr layout = plan_->AdapterLayout(info.adapter_rank, sent);
  const CodecContext context{
      .layout = layout, .rng = Rng(seed).Split("codec"), .version = info.base_version};
  TRIB_ASSIGN_OR_RETURN(const Update update,
                        DecodeUpdate(*codec_, info, std::move(payload), context));
  TRIB_ASSIGN_OR_RETURN(const LowRankModel* const kept, KeptAdapter(info.base_version));
  ParamVector trained(layout);
  CopyShared(plan_->StartAdapter(*kept, info.adapter_rank, seed), trained);
  update.delta->AddTo(static_cast<float>(rate_ratio), {0, layout->trainable_size()},
                      trained.trainable());
  TRIB_RETURN_IF_ERROR(update.delta->status());

  AdapterUpdate adapter{.order = info.work_order};
  for (auto& [name, factors] : plan_->FactorsOf(trained, info.adapter_rank)) {
    adapter.modules.push_back({.name = name,
                               .rank = factors.rank,
                               .scale = spec.Scale(info.adapter_rank),
                               .b = std::move(factors.b),
                               .a = std::move(factors.a)});
  }
  return adapter;
}

absl::StatusOr<AdaptersApplied> JobExecutor::SumAdapters(const action::PublishVersion& what,
                                                         UpdateSource& updates) {
  TRIB_ASSIGN_OR_RETURN(const LowRankModel* const found, KeptAdapter(version_));
  const LowRankModel kept = *found;  // what else is looked up may push it out
  TRIB_ASSIGN_OR_RETURN(auto aggregator,
                        pipeline_->NewAdapterAggregator(kept, version_, what.given_coefficients));
  TRIB_ASSIGN_OR_RETURN(const UpdateWeights weights,
                        pipeline_->AdapterWeights(what.given_coefficients));
  DeltaOrigin origin{.repeated = what.repeated, .client_rate_limit = what.client_rate_limit};
  int64_t combined = 0;
  for (const auto& part : what.parts) {
    origin.mean_staleness +=
        static_cast<double>(part.staleness) / static_cast<double>(what.parts.size());
    TRIB_ASSIGN_OR_RETURN(PayloadBytes payload, updates.Payload(part.info.work_order));
    if (plan_->rule().SendsFrom(part.info.base_version) != aggregator->factors()) {
      log::Info("an adapter is not combined: it trained the factor of another turn",
                {{"order", part.info.work_order}, {"staleness", part.staleness}});
      continue;
    }
    TRIB_ASSIGN_OR_RETURN(AdapterUpdate update,
                          DecodeAdapter(part.info, std::move(payload), part.seed, part.rate_ratio));
    TRIB_ASSIGN_OR_RETURN(update.weight, weights.Of(part.info, {.client = part.client,
                                                                .staleness = part.staleness,
                                                                .coefficient = part.coefficient}));
    if (update.weight == 0) continue;
    TRIB_RETURN_IF_ERROR(aggregator->Accumulate(update));
    ++combined;
  }
  if (combined == 0) return AdaptersApplied{};
  return pipeline_->ApplyAdapters(std::move(aggregator), kept, version_,
                                  Rng(static_cast<uint64_t>(spec_.seed))
                                      .Split("adapter")
                                      .Split(static_cast<uint64_t>(version_)),
                                  what.beside_momentum, origin);
}

absl::StatusOr<std::string> JobExecutor::TakeStep(Version version, AdapterStep step,
                                                  ParamVector& model) const {
  TRIB_ASSIGN_OR_RETURN(std::string delta, step_codec_->Encode(version, step));
  ApplyStep(*plan_, step, model);
  TRIB_RETURN_IF_ERROR(WithContext(CheckFinite(*model.layout(), model.values()), "the next model"));
  if (delta.size() >= model.values().size() * sizeof(float)) return "";
  return delta;
}

absl::StatusOr<Applied> JobExecutor::CombineAdapters(const action::PublishVersion& what,
                                                     UpdateSource& updates, std::string& delta) {
  TRIB_ASSIGN_OR_RETURN(AdaptersApplied sum, SumAdapters(what, updates));
  TRIB_ASSIGN_OR_RETURN(ParamVector model, store_->LoadModel(job_, version_));
  TRIB_ASSIGN_OR_RETURN(
      delta,
      TakeStep(what.version, {.weights = std::move(sum.weights), .adapter = std::move(sum.adapter)},
               model));
  Applied applied{.model = std::move(model),
                  .updates = sum.updates,
                  .delta_norm = sum.delta_norm,
                  .tail_energy = sum.delivered.tail_energy,
                  .dropped_energy = sum.delivered.dropped_energy};
  for (const auto& part : what.parts) applied.num_examples += part.info.num_examples;
  return applied;
}

}  // namespace tributary
