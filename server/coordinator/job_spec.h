// JobSpec: the `job:` section of a job file as values. Every policy brings its own
// option fields through its registry; this file knows only the sections.
#ifndef TRIBUTARY_SERVER_COORDINATOR_JOB_SPEC_H_
#define TRIBUTARY_SERVER_COORDINATOR_JOB_SPEC_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregators/optimize/hypergradient.h"
#include "aggregators/pipeline.h"
#include "aggregators/transform/orthogonal_projection.h"
#include "aggregators/transform/prune_mask.h"
#include "common/codec/error_feedback.h"
#include "common/codec/version_delta.h"
#include "common/config/schema.h"
#include "common/digest.h"
#include "common/lora/lora_spec.h"
#include "common/train_spec/train_spec.h"
#include "server/coordinator/participation.h"

namespace tributary {

struct EvaluateSpec {
  int64_t every_versions = 1;
  // Whom to ask: "evaluators" (clients that only evaluate) or "everyone" (each client at
  // its next check-in, before it trains again).
  std::string by = "evaluators";
  absl::Duration deadline_seconds = absl::Minutes(10);  // for a version's reports

  static void Describe(config::Fields<EvaluateSpec>& fields);
};

// A job that learns one task after another and is to forget none.
struct ContinualSpec {
  int64_t tasks = 2;
  // What ends a task, whichever comes first, beside the operator's command: versions of training;
  // the share of the clients present that report a later one.
  std::optional<int64_t> versions_per_task;
  std::optional<double> reported_share;
  // Short for the last of aggregation.transforms; always absent in a parsed spec.
  std::optional<OrthogonalProjectionOptions> orthogonal;

  static void Describe(config::Fields<ContinualSpec>& fields);
};

// How contributions are collected where a transform learns from clients.
struct CollectionSpec {
  std::optional<int64_t> clients;  // asked at most; absent: all that are there
  int64_t minimum = 1;             // contributions without which it does not end
  // After it, what is there is enough if it is the minimum.
  absl::Duration deadline_seconds = absl::Minutes(10);

  static void Describe(config::Fields<CollectionSpec>& fields);
  absl::Status Validate() const;
};

// Whichever comes first; the last task's end, too.
struct StopSpec {
  std::optional<int64_t> versions;
  std::optional<int64_t> updates;
  std::optional<absl::Duration> seconds;
  std::optional<int64_t> client_steps;
  std::optional<double> target_accuracy;

  static void Describe(config::Fields<StopSpec>& fields);
  bool empty() const {
    return !versions && !updates && !seconds && !client_steps && !target_accuracy;
  }
};

struct JobSpec {
  std::string name;
  int64_t seed = 1;
  ModelSpec model;
  TrainSpec train;
  config::Choice scheduler;
  ParticipationSpec participation;
  AggregationSpec aggregation;
  // After the aggregation's optimizer; with variant client_local short for train.hypergradient.
  std::optional<HypergradientOptions> hypergradient;
  // Short for the first of aggregation.transforms; always absent in a parsed spec.
  std::optional<PruneMaskOptions> pruning;
  // The model is tuned through adapters, which aggregation.combine must combine.
  std::optional<LoraSpec> lora;
  // Empty: raw. Begins with `masked`, said or not, where a transform prunes.
  std::vector<config::Choice> codec;
  // Absent: on. Of no effect where the codec loses nothing.
  std::optional<config::Switch<ErrorFeedbackOptions>> error_feedback;
  std::optional<DownlinkSpec> downlink;  // absent: every version travels whole
  std::optional<ContinualSpec> continual;
  CollectionSpec collection;
  EvaluateSpec evaluate;
  StopSpec stop;
  // A work order without any sign of life for this long is lost.
  absl::Duration liveness_seconds = absl::Minutes(5);
  int64_t keep_versions = 10;  // whose values stay in the store
  bool keep_updates = false;   // each update's payload stays, and the first model: for replay

  // Makes the scheduler and the codec once, so that what they refuse is refused here.
  static void Describe(config::Fields<JobSpec>& fields);
  // Writes out what pruning, continual.orthogonal and a codec without `masked` are short for, and
  // that with adapters versions travel as what has changed, so that two files that say the same
  // have one canonical form.
  void Expand();
  // A scheduler that sets coefficients wants a combine rule that takes them; what is learnt at a
  // task's end wants tasks; a job wants an end.
  absl::Status Validate() const;
  // What a transform asks clients for, of this kind, as far as it is known without a model (no
  // layout); absent: nothing.
  std::optional<CollectRequest> Collects(CollectKind kind) const;
};

// `job` is the node under `job:`. InvalidArgument with every error, one a line. Files that
// the job names are not looked at: see job_file.h.
absl::StatusOr<JobSpec> ParseJobSpec(const config::Node& job);
absl::StatusOr<JobSpec> ParseJobSpecJson(const std::string& canonical_json);

// The sections with what the hypergradient section adds to them.
AggregationSpec AggregationOf(const JobSpec& spec);
bool FollowsDeltas(const JobSpec& spec);   // a hypergradient is among the aggregation's steps
bool SetsClientRate(const JobSpec& spec);  // of which one is server_local
TrainSpec TrainOf(const JobSpec& spec);

// What both ends know of the job's adapters; absent: it has none.
std::optional<LoraTerms> LoraTermsOf(const JobSpec& spec);

// Whether clients send later what the codec leaves out, and what an update counts then: as the
// scheduler says, or the combine rule. An error is one of the policies' options.
absl::StatusOr<ErrorFeedback> ErrorFeedbackOf(const JobSpec& spec);

// Sorted keys, every default filled in: what travels and is stored.
std::string CanonicalJson(const JobSpec& spec);
// SHA-256 of CanonicalJson: the config_digest.
Digest ConfigDigest(const JobSpec& spec);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_JOB_SPEC_H_
