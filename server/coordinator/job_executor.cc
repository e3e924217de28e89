#include "server/coordinator/job_executor.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// factor · delta
class ScaledDelta final : public DeltaPayload {
 public:
  ScaledDelta(std::unique_ptr<const DeltaPayload> delta, double factor)
      : delta_(std::move(delta)), factor_(static_cast<float>(factor)) {}

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override {
    delta_->AddTo(weight * factor_, range, accumulator);
  }
  absl::Status CheckFinite() const override { return delta_->CheckFinite(); }
  absl::Status status() const override { return delta_->status(); }

 private:
  const std::unique_ptr<const DeltaPayload> delta_;
  const float factor_;
};

// delta + shift, where the shift is base − current: trained − current.
class ShiftedDelta final : public DeltaPayload {
 public:
  ShiftedDelta(std::unique_ptr<const DeltaPayload> delta, ParamVector shift)
      : delta_(std::move(delta)), shift_(std::move(shift)) {}

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override {
    delta_->AddTo(weight, range, accumulator);
    AddScaled(weight,
              shift_.trainable().subspan(static_cast<size_t>(range.begin),
                                         static_cast<size_t>(range.size())),
              accumulator);
  }
  absl::Status CheckFinite() const override { return delta_->CheckFinite(); }
  absl::Status status() const override { return delta_->status(); }

 private:
  const std::unique_ptr<const DeltaPayload> delta_;
  const ParamVector shift_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JobExecutor>> JobExecutor::Create(const JobSpec& spec, JobId job,
                                                                 ModelStore* store,
                                                                 Parallel* parallel) {
  auto executor = std::unique_ptr<JobExecutor>(new JobExecutor());
  TRIB_ASSIGN_OR_RETURN(executor->codec_, CreateCodec(spec.codec));
  TRIB_ASSIGN_OR_RETURN(executor->raw_, CreateCodec({}));
  executor->terms_ = LoraTermsOf(spec);
  if (executor->terms_) {
    TRIB_ASSIGN_OR_RETURN(
        executor->step_codec_,
        AdapterStepCodec::Create(spec.downlink.value_or(DownlinkSpec{}), *executor->terms_));
  } else if (spec.downlink) {
    TRIB_ASSIGN_OR_RETURN(executor->downlink_, Downlink::Create(*spec.downlink));
  }
  executor->spec_ = spec;
  executor->job_ = std::move(job);
  executor->store_ = store;
  executor->parallel_ = parallel;
  return executor;
}

absl::Status JobExecutor::UseLayout(LayoutPtr layout, Version version) {
  layout_ = std::move(layout);
  version_ = version;
  if (terms_) TRIB_RETURN_IF_ERROR(UsePlan(*layout_));
  TRIB_ASSIGN_OR_RETURN(pipeline_,
                        Pipeline::Create(AggregationOf(spec_), layout_, parallel_, plan_));
  return absl::OkStatus();
}

absl::Status JobExecutor::UsePlan(const ParamLayout& layout) {
  TRIB_ASSIGN_OR_RETURN(plan_, LoraPlan::Create(*terms_, layout));
  kept_adapters_.clear();
  return absl::OkStatus();
}

absl::Status JobExecutor::Restore() {
  TRIB_ASSIGN_OR_RETURN(const auto versions, store_->ListVersions(job_));
  if (versions.empty()) return absl::OkStatus();
  const Version newest = versions.back().version;
  TRIB_ASSIGN_OR_RETURN(const auto model, store_->OpenModel(job_, newest));
  TRIB_RETURN_IF_ERROR(UseLayout(model->layout(), newest));
  const StateRefs state = State();
  TRIB_RETURN_IF_ERROR(store_->LoadState(job_, newest, state.vectors, state.scalars));
  return pipeline_->Restored();
}

StateRefs JobExecutor::State() {
  StateRefs state = pipeline_->State();
  if (downlink_ != nullptr) state.vectors["downlink.residual"] = &downlink_->residual();
  return state;
}

absl::StatusOr<event::VersionPublished> JobExecutor::Install(const ParamVector& model,
                                                             absl::Time at) {
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckFinite(*model.layout(), model.values()), "the first model"));
  if (terms_) {
    TRIB_RETURN_IF_ERROR(UsePlan(*model.layout()));
    const ParamVector first = plan_->FirstModel(model.Clone(), static_cast<uint64_t>(spec_.seed));
    TRIB_RETURN_IF_ERROR(UseLayout(first.layout(), 0));
    return Store(first, Applied{}, /*delta=*/"", at);
  }
  TRIB_RETURN_IF_ERROR(UseLayout(model.layout(), 0));
  return Store(model, Applied{}, /*delta=*/"", at);
}

absl::StatusOr<event::VersionPublished> JobExecutor::Publish(const action::PublishVersion& what,
                                                             UpdateSource& updates, absl::Time at) {
  if (what.version != version_ + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("asked to publish version ", what.version, " after version ", version_));
  }
  std::string delta;
  const bool adapters = plan_ != nullptr && !what.learns;
  TRIB_ASSIGN_OR_RETURN(Applied applied, what.learns ? Learn(what, updates)
                                         : adapters  ? CombineAdapters(what, updates, delta)
                                                     : Combine(what, updates));
  if (downlink_ != nullptr) {
    TRIB_ASSIGN_OR_RETURN(ParamVector before, store_->LoadModel(job_, version_));
    delta = downlink_->Encode(what.version, std::move(before), applied.model);
  }
  if (plan_ != nullptr && what.learns) {
    TRIB_ASSIGN_OR_RETURN(delta, TakeStep(what.version, {}, applied.model));
  }
  ++version_;
  return Store(applied.model, applied, std::move(delta), at);
}

CodecContext JobExecutor::ContextOf(const UpdateInfo& info, uint64_t seed) const {
  return {.layout = layout_,
          .rng = Rng(seed).Split("codec"),
          .mask = pipeline_->mask().get(),
          .version = info.base_version};
}

absl::StatusOr<Applied> JobExecutor::Combine(const action::PublishVersion& what,
                                             UpdateSource& updates) {
  TRIB_ASSIGN_OR_RETURN(auto aggregator, pipeline_->NewAggregator(what.given_coefficients));
  DeltaOrigin origin{.repeated = what.repeated, .client_rate_limit = what.client_rate_limit};
  for (const auto& part : what.parts) {
    origin.mean_staleness +=
        static_cast<double>(part.staleness) / static_cast<double>(what.parts.size());
    TRIB_ASSIGN_OR_RETURN(PayloadBytes payload, updates.Payload(part.info.work_order));
    TRIB_ASSIGN_OR_RETURN(Update update, DecodeCheckedUpdate(*codec_, part.info, std::move(payload),
                                                             ContextOf(part.info, part.seed)));
    if (part.rate_ratio != 1.0) {
      update.delta = std::make_unique<ScaledDelta>(std::move(update.delta), part.rate_ratio);
    }
    if (what.mix_models && part.staleness > 0) {
      TRIB_RETURN_IF_ERROR(MeasureFromCurrent(update));
    }
    TRIB_RETURN_IF_ERROR(aggregator->Accumulate(
        update,
        {.client = part.client, .staleness = part.staleness, .coefficient = part.coefficient}));
    TRIB_RETURN_IF_ERROR(update.delta->status());
  }
  const auto add_current = [this](absl::Span<float> sums) { return AddCurrent(1.0F, sums); };
  return pipeline_->Apply(std::move(aggregator), version_, add_current, what.beside_momentum,
                          origin);
}

absl::StatusOr<Applied> JobExecutor::Learn(const action::PublishVersion& what,
                                           UpdateSource& updates) {
  TRIB_ASSIGN_OR_RETURN(const CollectRequest* const request, RequestFor(*what.learns));
  std::vector<double> sum(static_cast<size_t>(request->layout->trainable_size()));
  for (const auto& part : what.parts) {
    TRIB_ASSIGN_OR_RETURN(PayloadBytes payload, updates.Payload(part.info.work_order));
    TRIB_ASSIGN_OR_RETURN(
        const Update contribution,
        DecodeCheckedUpdate(*raw_, part.info, std::move(payload), {.layout = request->layout}));
    ForRanges(parallel_, std::ssize(sum), [&](CoordinateRange range) {
      std::vector<float> values(static_cast<size_t>(range.size()));
      contribution.delta->AddTo(1.0F, range, absl::MakeSpan(values));
      for (size_t i = 0; i < values.size(); ++i)
        sum[static_cast<size_t>(range.begin) + i] += values[i];
    });
    TRIB_RETURN_IF_ERROR(contribution.delta->status());
  }
  TRIB_ASSIGN_OR_RETURN(ParamVector model, store_->LoadModel(job_, version_));
  TRIB_RETURN_IF_ERROR(
      pipeline_->Learn(*what.learns, sum, std::ssize(what.parts), model.trainable(), version_));
  return Applied{.model = std::move(model)};
}

std::map<CollectKind, CollectRequest> JobExecutor::Collections() const {
  std::map<CollectKind, CollectRequest> requests;
  for (const CollectKind kind : {CollectKind::kExplore, CollectKind::kSketch}) {
    const CollectRequest* const request =
        pipeline_ == nullptr ? nullptr : pipeline_->collects(kind);
    if (request != nullptr) requests[kind] = *request;
  }
  return requests;
}

std::shared_ptr<const Mask> JobExecutor::mask() const {
  return pipeline_ == nullptr ? nullptr : pipeline_->mask();
}

absl::StatusOr<const CollectRequest*> JobExecutor::RequestFor(CollectKind kind) const {
  const CollectRequest* const request = pipeline_ == nullptr ? nullptr : pipeline_->collects(kind);
  if (request != nullptr) return request;
  return absl::FailedPreconditionError("nothing in this job learns from such a collection");
}

absl::Status JobExecutor::MeasureFromCurrent(Update& update) const {
  auto base = store_->LoadModel(job_, update.info.base_version);
  if (absl::IsNotFound(base.status())) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(base.status());
  TRIB_RETURN_IF_ERROR(AddCurrent(-1.0F, base->trainable()));
  update.delta = std::make_unique<ShiftedDelta>(std::move(update.delta), *std::move(base));
  return absl::OkStatus();
}

absl::Status JobExecutor::AddCurrent(float factor, absl::Span<float> sums) const {
  return store_->ReadModel(job_, version_, [&](size_t first, absl::Span<const float> values) {
    const absl::Span<float> to = sums.subspan(std::min(first, sums.size()), values.size());
    AddScaled(factor, values.first(to.size()), to);
  });
}

absl::StatusOr<event::VersionPublished> JobExecutor::Store(const ParamVector& model,
                                                           const Applied& applied,
                                                           std::string delta, absl::Time at) {
  const StateRefs state = State();
  const Rates rates = pipeline_->rates();
  Publication publication{.job = job_,
                          .version = version_,
                          .model = &model,
                          .delta = std::move(delta),
                          .updates = applied.updates,
                          .at = at};
  for (const auto& [name, vector] : state.vectors) publication.state_vectors[name] = vector;
  for (const auto& [name, scalar] : state.scalars) publication.state_scalars[name] = *scalar;
  publication.stats_json = nlohmann::json({{"num_examples", applied.num_examples},
                                           {"server_rate", rates.server},
                                           {"client_rate", rates.clients},
                                           {"delta_norm", applied.delta_norm},
                                           {"tail_energy", applied.tail_energy},
                                           {"dropped_energy", applied.dropped_energy}})
                               .dump();
  TRIB_ASSIGN_OR_RETURN(const VersionRecord record, store_->Publish(publication));
  event::VersionPublished published{version_, record.model_digest, rates.server, applied.delta_norm,
                                    rates.clients};
  PutSizes(published);
  published.tail_energy = applied.tail_energy;
  published.dropped_energy = applied.dropped_energy;
  return published;
}

absl::Status JobExecutor::Check(const UpdateInfo& info, PayloadBytes payload, uint64_t seed) {
  if (layout_ == nullptr) return absl::FailedPreconditionError("the job has no model yet");
  if (plan_ == nullptr) {
    return DecodeUpdate(*codec_, info, std::move(payload), ContextOf(info, seed)).status();
  }
  TRIB_ASSIGN_OR_RETURN(const AdapterUpdate update, DecodeAdapter(info, std::move(payload), seed));
  TRIB_ASSIGN_OR_RETURN(const LowRankModel* const kept, KeptAdapter(info.base_version));
  return Accept(update, AdapterSpecOf(*plan_), plan_->rule().SendsFrom(info.base_version),
                plan_->rule().own_b() ? LowRankModel() : *kept)
      .status();
}

absl::Status JobExecutor::CheckContribution(CollectKind kind, const UpdateInfo& info,
                                            PayloadBytes payload) const {
  TRIB_ASSIGN_OR_RETURN(const CollectRequest* const request, RequestFor(kind));
  return DecodeUpdate(*raw_, info, std::move(payload), {.layout = request->layout}).status();
}

LossCause ClassifyRefusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOutOfRange:
      return LossCause::kNotFinite;
    case absl::StatusCode::kFailedPrecondition:
      return LossCause::kBadWeight;
    case absl::StatusCode::kDataLoss:
      return LossCause::kCorrupt;
    case absl::StatusCode::kResourceExhausted:
      return LossCause::kTooLarge;
    default:
      return LossCause::kWrongLayout;
  }
}

uint64_t WorkOrderSeed(uint64_t job_seed, int64_t training_order) {
  return Rng(job_seed).Split("work").Split(static_cast<uint64_t>(training_order)).seed();
}

}  // namespace tributary
