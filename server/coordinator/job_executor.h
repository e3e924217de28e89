// JobExecutor: does what a JobController's numeric actions ask for: installs the first
// model, combines updates into the next version, and publishes it with the pipeline's
// state in one store transaction. Both hosts use it, so both make the same models.
#ifndef TRIBUTARY_SERVER_COORDINATOR_JOB_EXECUTOR_H_
#define TRIBUTARY_SERVER_COORDINATOR_JOB_EXECUTOR_H_

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregators/pipeline.h"
#include "common/codec/adapter_step.h"
#include "common/codec/update_payload.h"
#include "server/coordinator/downlink.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"
#include "server/store/model_store.h"

namespace tributary {

// Where the payloads of accepted updates are until they are combined.
class UpdateSource {
 public:
  virtual ~UpdateSource() = default;
  // The payload as it travelled. NotFound, DataLoss.
  virtual absl::StatusOr<PayloadBytes> Payload(WorkOrderId work_order) = 0;
};

// Blocks on disk and arithmetic: never call from an event loop. Thread-compatible: a job's
// calls are made one after another. In memory at a time: one model and the pipeline's state,
// however many updates (the sum, which becomes the next model; payloads whose values stand one
// after another stay in their files); one more where whole models are mixed, one payload
// where a codec does more, and what Downlink takes where the job has one.
class JobExecutor {
 public:
  // `store` outlives this.
  static absl::StatusOr<std::unique_ptr<JobExecutor>> Create(const JobSpec& spec, JobId job,
                                                             ModelStore* store,
                                                             Parallel* parallel = nullptr);

  // Goes on from the newest published version in the store, if there is one.
  absl::Status Restore();

  // Publishes version 0.
  absl::StatusOr<event::VersionPublished> Install(const ParamVector& model, absl::Time at);

  // The updates have passed Check, or the contributions CheckContribution. An error of an update or
  // of the store: nothing is published, and the pipeline's state may be half changed: Restore
  // before going on.
  absl::StatusOr<event::VersionPublished> Publish(const action::PublishVersion& what,
                                                  UpdateSource& updates, absl::Time at);

  // Removes what the job no longer keeps of earlier versions. Call it after each version; one that
  // is left out is made up for by the next.
  absl::Status Prune() { return store_->Prune(job_, spec_.keep_versions); }

  // Checks all that Publish takes for granted of a payload; `seed`: the work order's. Errors as
  // DecodeUpdate, and of an adapter those of Accept (aggregators/lora/adapter.h); the counter that
  // they belong under through ClassifyRefusal.
  absl::Status Check(const UpdateInfo& info, PayloadBytes payload, uint64_t seed);
  // The same of a contribution to a collection: dense, of the request's layout.
  absl::Status CheckContribution(CollectKind kind, const UpdateInfo& info,
                                 PayloadBytes payload) const;

  // What clients are asked for, of the kinds that something learns from. Empty before Install or
  // Restore, constant afterwards.
  std::map<CollectKind, CollectRequest> Collections() const;
  // The coordinates that the newest version keeps; null: all.
  std::shared_ptr<const Mask> mask() const;

  // Of version 0, with adapters: what event::VersionPublished says of the sizes.
  void PutSizes(event::VersionPublished& published) const;

  const LayoutPtr& layout() const { return layout_; }  // null before Install or Restore
  // With adapters; constant once it is there. Null: the job has none, or no model yet.
  const std::shared_ptr<const LoraPlan>& adapters() const { return plan_; }
  // Of what an order of this kind brings. The same from Create on.
  const std::shared_ptr<const Codec>& CodecOf(WorkKind kind) const {
    return CollectKindOf(kind) ? raw_ : codec_;
  }

 private:
  JobExecutor() = default;
  // What the payloads of updates are decoded with; constant between versions.
  CodecContext ContextOf(const UpdateInfo& info, uint64_t seed) const;
  absl::StatusOr<Applied> Combine(const action::PublishVersion& what, UpdateSource& updates);
  // The same of adapters; `delta`: how the version reaches clients.
  absl::StatusOr<Applied> CombineAdapters(const action::PublishVersion& what, UpdateSource& updates,
                                          std::string& delta);
  absl::StatusOr<AdaptersApplied> SumAdapters(const action::PublishVersion& what,
                                              UpdateSource& updates);
  // What a client has trained: its payload and what it started from.
  absl::StatusOr<AdapterUpdate> DecodeAdapter(const UpdateInfo& info, PayloadBytes payload,
                                              uint64_t seed, double rate_ratio = 1.0);
  // The adapter that a version keeps.
  absl::StatusOr<const LowRankModel*> KeptAdapter(Version version);
  // Makes the model the next version of it, and the delta that does.
  absl::StatusOr<std::string> TakeStep(Version version, AdapterStep step, ParamVector& model) const;
  // The newest model as it is when its pipeline has learnt from these contributions.
  absl::StatusOr<Applied> Learn(const action::PublishVersion& what, UpdateSource& updates);
  absl::StatusOr<const CollectRequest*> RequestFor(CollectKind kind) const;
  // Makes the delta trained − current; leaves it where the base is no longer stored.
  absl::Status MeasureFromCurrent(Update& update) const;
  // sums += factor · the newest version's trainable values.
  absl::Status AddCurrent(float factor, absl::Span<float> sums) const;
  absl::Status UseLayout(LayoutPtr layout, Version version);
  absl::Status UsePlan(const ParamLayout& layout);
  StateRefs State();
  absl::StatusOr<event::VersionPublished> Store(const ParamVector& model, const Applied& applied,
                                                std::string delta, absl::Time at);

  JobSpec spec_;
  JobId job_;
  ModelStore* store_ = nullptr;
  Parallel* parallel_ = nullptr;
  std::shared_ptr<const Codec> codec_;
  std::shared_ptr<const Codec> raw_;  // of contributions
  LayoutPtr layout_;
  Version version_ = -1;  // the newest
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<Downlink> downlink_;  // null: the job has none, or has adapters
  // With adapters:
  std::optional<LoraTerms> terms_;
  std::shared_ptr<const LoraPlan> plan_;
  std::unique_ptr<const AdapterStepCodec> step_codec_;
  std::map<Version, LowRankModel> kept_adapters_;  // of the newest versions
};

// Which counter a bad update belongs under, from Check's status.
LossCause ClassifyRefusal(const absl::Status& status);

// The seed of the n-th training order of a job, from 1; of its first model: n = 0.
uint64_t WorkOrderSeed(uint64_t job_seed, int64_t training_order);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_JOB_EXECUTOR_H_
