#include "server/coordinator/job_spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregators/lora/lora_aggregator.h"
#include "aggregators/lora/stacking.h"
#include "common/codec/codec.h"
#include "common/codec/codec_registry.h"
#include "common/codec/masked.h"
#include "common/status_macros.h"
#include "schedulers/scheduler_registry.h"

namespace tributary {
namespace {

template <typename Options>
config::Choice Chosen(std::string name, const Options& options) {
  return {.name = std::move(name), .options = config::Print(options), .position = {}};
}

bool IsLocal(const std::optional<HypergradientOptions>& hypergradient) {
  return hypergradient && hypergradient->variant == "client_local";
}

}  // namespace

void EvaluateSpec::Describe(config::Fields<EvaluateSpec>& fields) {
  fields.Add("every_versions", &EvaluateSpec::every_versions, "evaluate each n-th version").Min(1);
  fields
      .Add("by", &EvaluateSpec::by,
           "evaluators: the clients that only evaluate; everyone: each client at its next "
           "check-in")
      .OneOf({"evaluators", "everyone"});
  fields
      .Add("deadline_seconds", &EvaluateSpec::deadline_seconds,
           "how long a version's reports are waited for")
      .GreaterThan(0);
}

void StopSpec::Describe(config::Fields<StopSpec>& fields) {
  fields.Add("versions", &StopSpec::versions, "versions published").Min(1);
  fields.Add("updates", &StopSpec::updates, "updates applied").Min(1);
  fields.Add("seconds", &StopSpec::seconds, "seconds since the job began, virtual when simulated")
      .GreaterThan(0);
  fields.Add("client_steps", &StopSpec::client_steps, "local steps in all updates applied").Min(1);
  fields.Add("target_accuracy", &StopSpec::target_accuracy, "accuracy of an evaluated version")
      .GreaterThan(0)
      .Max(1);
}

void ContinualSpec::Describe(config::Fields<ContinualSpec>& fields) {
  fields.Add("tasks", &ContinualSpec::tasks, "tasks, one after another").Min(1);
  fields
      .Add("versions_per_task", &ContinualSpec::versions_per_task,
           "versions of training that end a task; absent: no number of them does. `tributary job "
           "next-task` always does")
      .Min(1);
  fields.Add("orthogonal", &ContinualSpec::orthogonal,
             "no update moves what earlier tasks taught (FOT): short for orthogonal_projection as "
             "the last of aggregation.transforms; absent: plain training on the sequence");
  fields
      .Add("reported_share", &ContinualSpec::reported_share,
           "a task ends once this share of the clients present, those that only evaluate aside, "
           "report that their data belong to a later one; absent: reports end none")
      .GreaterThan(0)
      .Max(1);
}

void CollectionSpec::Describe(config::Fields<CollectionSpec>& fields) {
  fields
      .Add("clients", &CollectionSpec::clients,
           "clients that are asked, drawn from those there; absent: all of them")
      .Min(1);
  fields.Add("minimum", &CollectionSpec::minimum, "contributions without which it does not end")
      .Min(1);
  fields
      .Add("deadline_seconds", &CollectionSpec::deadline_seconds,
           "how long more than the minimum are waited for")
      .GreaterThan(0);
}

absl::Status CollectionSpec::Validate() const {
  if (!clients || minimum <= *clients) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("minimum: found ", minimum, ", allowed: at most clients, which is ", *clients));
}

namespace {

absl::Status CheckEnd(const JobSpec& spec) {
  if (!spec.stop.empty() || spec.continual) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "a job needs an end, found none; allowed: in `stop` at least one of versions, updates, "
      "seconds, client_steps, target_accuracy, or `continual` tasks");
}

}  // namespace

void JobSpec::Describe(config::Fields<JobSpec>& fields) {
  fields.Add("name", &JobSpec::name, "the job's name").Required().Id();
  fields.Add("seed", &JobSpec::seed, "seed of every random choice of the job").Min(0);
  fields.Add("model", &JobSpec::model, "what is trained").Required();
  fields.Add("train", &JobSpec::train, "how a client trains it").Required();
  fields.Add("scheduler", &JobSpec::scheduler, "who trains, and when a version is made")
      .Required()
      .Alternatives(SchedulerRegistry().Alternatives())
      .Check([](const JobSpec& spec) {
        return SchedulerRegistry().Create(spec.scheduler, SchedulerDeps{}).status();
      });
  fields.Add("participation", &JobSpec::participation,
             "limits on who trains and when, whatever the scheduler");
  fields.Add("aggregation", &JobSpec::aggregation, "how updates become the next version");
  fields.Add("hypergradient", &JobSpec::hypergradient,
             "FedHyper: a rate that follows the product of successive deltas, after the "
             "aggregation's optimizer, or the clients' own (client_local: the same as "
             "train.hypergradient); absent: none");
  fields.Add("pruning", &JobSpec::pruning,
             "weights that training does not move are neither trained nor sent (AutoFLIP): short "
             "for prune_mask as the first of aggregation.transforms; absent: none");
  fields.Add("lora", &JobSpec::lora,
             "the model's weights stay frozen, and clients train low-rank adapters of some of its "
             "modules; aggregation.combine says how these are combined, lora_stacking if it says "
             "nothing; absent: clients train the model");
  fields
      .Add("codec", &JobSpec::codec,
           "the form in which updates travel, stage by stage; an empty list: raw. Where a "
           "transform prunes, `masked` comes first by itself")
      .Alternatives(CodecRegistry().Alternatives())
      .Check([](const JobSpec& spec) { return CreateCodec(spec.codec).status(); });
  fields.Add("error_feedback", &JobSpec::error_feedback,
             "what the codec leaves out of a client's update goes into its next one; absent: as "
             "true. Of no effect where the codec loses nothing");
  fields.Add("downlink", &JobSpec::downlink,
             "clients that hold an earlier version are sent what has changed since, where that is "
             "fewer bytes; absent: every version travels whole");
  fields.Add("continual", &JobSpec::continual,
             "the tasks of a job that learns one after another; absent: one task");
  fields.Add("collection", &JobSpec::collection,
             "how contributions are collected where a transform learns from clients");
  fields.Add("evaluate", &JobSpec::evaluate, "when versions are evaluated, and by whom");
  fields
      .Add("stop", &JobSpec::stop,
           "when the job is done: whichever comes first, or the end of the last task")
      .Check(CheckEnd);
  fields
      .Add("liveness_seconds", &JobSpec::liveness_seconds,
           "a work order without a sign of life for this long is lost")
      .GreaterThan(0);
  fields
      .Add("keep_versions", &JobSpec::keep_versions,
           "latest versions whose parameters stay in the store")
      .Min(1);
  fields.Add(
      "keep_updates", &JobSpec::keep_updates,
      "keep the payload of every accepted update, and the first model, so that the run can be "
      "computed again; takes the disk space of all uploads");
}

void JobSpec::Expand() {
  std::vector<config::Choice>& transforms = aggregation.transforms;
  if (pruning) {
    transforms.insert(transforms.begin(),
                      Chosen("prune_mask", *std::exchange(pruning, std::nullopt)));
  }
  if (continual && continual->orthogonal) {
    transforms.push_back(
        Chosen("orthogonal_projection", *std::exchange(continual->orthogonal, std::nullopt)));
  }
  if (lora) {
    // The default; a file that says so is told what it may say.
    const config::Choice& rule = aggregation.combine;
    if (rule.name == AggregationSpec().combine.name && rule.position.line == 0) {
      aggregation.combine = Chosen("lora_stacking", LoraMergeOptions{});
    }
    if (!downlink) downlink.emplace();
  }
  const bool prunes = std::ranges::any_of(transforms, [](const config::Choice& choice) {
    const auto transform = TransformRegistry().Create(choice, TransformDeps{});
    return transform.ok() && (*transform)->effect() == Effect::kMasks;
  });
  if (!prunes || (!codec.empty() && codec.front().name == "masked")) return;
  codec.insert(codec.begin(), Chosen("masked", MaskedSelector::Options{}));
}

std::optional<CollectRequest> JobSpec::Collects(CollectKind kind) const {
  for (const config::Choice& choice : aggregation.transforms) {
    const auto transform = TransformRegistry().Create(choice, TransformDeps{});
    const CollectRequest* request = transform.ok() ? (*transform)->collects() : nullptr;
    if (request != nullptr && request->kind == kind) return *request;
  }
  return std::nullopt;
}

namespace {

// A projection's directions are inputs, which it takes the rows of a weight to be made of.
absl::Status CheckProjection(const JobSpec& spec) {
  if (spec.lora || !spec.model.transposed_weights()) return absl::OkStatus();
  for (const config::Choice& choice : spec.aggregation.transforms) {
    TRIB_ASSIGN_OR_RETURN(const auto transform, TransformRegistry().Create(choice, {}));
    if (transform->effect() != Effect::kProjects) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(choice.name, " with model ", spec.model.builtin->name,
                     ": its weights are stored [inputs, outputs], which the projection of whole "
                     "weights does not know; allowed: with `lora`, or model llama"));
  }
  return absl::OkStatus();
}

// Where nothing is left out momentum would never be applied.
absl::Status CheckFeedback(const JobSpec& spec) {
  const auto codec = CreateCodec(spec.codec);
  TRIB_RETURN_IF_ERROR(WithContext(codec.status(), "codec"));
  if (!spec.error_feedback || spec.error_feedback->options.momentum == 0) return absl::OkStatus();
  if (!(*codec)->lossless()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "error_feedback.momentum is ", spec.error_feedback->options.momentum,
      ", and the codec leaves nothing out; allowed with it: a codec that does, as topk"));
}

absl::Status CheckLora(const JobSpec& spec) {
  const auto refuse = [](absl::string_view what) { return absl::InvalidArgumentError(what); };
  if (!spec.lora) {
    if (!spec.aggregation.combines_adapters()) return absl::OkStatus();
    return refuse(absl::StrCat("aggregation.combine ", spec.aggregation.combine.name,
                               " combines adapters, and the job has no `lora` section; allowed "
                               "without one: fedavg"));
  }
  if (!spec.aggregation.combines_adapters()) {
    return refuse(absl::StrCat("aggregation.combine ", spec.aggregation.combine.name,
                               " does not combine the adapters of `lora`; allowed: lora_stacking, "
                               "lora_average, and the other rules for them"));
  }
  if (spec.error_feedback && spec.error_feedback->on) {
    return refuse(
        "error_feedback with lora: a work order's adapter begins anew, or in another rank, "
        "so that what was left out of the last one fits nothing; leave it out");
  }
  if (TrainOf(spec).hypergradient) {
    return refuse(
        "train.hypergradient with lora: adapters have no global update to compare with; allowed: "
        "the hypergradient variants global and server_local");
  }
  // Of one module, to see what the rule says of the ranks.
  const auto most = static_cast<size_t>(spec.lora->max_rank());
  const LoraDeps ranks{.spec = {.modules = {{"any", {.rows = 1, .columns = 1}}},
                                .min_rank = spec.lora->min_rank(),
                                .max_rank = spec.lora->max_rank()},
                       .start = {{"any",
                                  {.rows = 1,
                                   .columns = 1,
                                   .rank = spec.lora->max_rank(),
                                   .b = std::vector<float>(most),
                                   .a = std::vector<float>(most)}}}};
  return WithContext(LoraAggregatorRegistry().Create(spec.aggregation.combine, ranks).status(),
                     "lora");
}

}  // namespace

absl::Status JobSpec::Validate() const {
  TRIB_RETURN_IF_ERROR(CheckEnd(*this));  // of a file without the key
  TRIB_RETURN_IF_ERROR(
      WithContext(aggregation.Validate(), "aggregation with pruning and continual.orthogonal"));
  TRIB_RETURN_IF_ERROR(CheckFeedback(*this));
  TRIB_RETURN_IF_ERROR(CheckLora(*this));
  TRIB_RETURN_IF_ERROR(CheckProjection(*this));
  if (Collects(CollectKind::kSketch) && !continual) {
    return absl::InvalidArgumentError(
        "continual: missing; a transform learns what a task's end leaves, and the job has no "
        "tasks: say how many");
  }
  if (train.hypergradient && IsLocal(hypergradient)) {
    return absl::InvalidArgumentError(
        "hypergradient.variant client_local is short for train.hypergradient, which stands there "
        "too; keep one of them");
  }
  if (hypergradient) {
    TRIB_RETURN_IF_ERROR(WithContext(AggregationOf(*this).Validate(), "hypergradient"));
  }
  TRIB_ASSIGN_OR_RETURN(const auto made, SchedulerRegistry().Create(scheduler, SchedulerDeps{}));
  if (!made->SetsCoefficients()) return absl::OkStatus();
  const AggregatorDeps deps{.layout = nullptr, .parallel = nullptr, .given_coefficients = true};
  const absl::Status takes = lora ? LoraAggregatorRegistry()
                                        .Create(aggregation.combine, {.given_coefficients = true})
                                        .status()
                                  : AggregatorRegistry().Create(aggregation.combine, deps).status();
  if (takes.ok()) return takes;
  return absl::InvalidArgumentError(absl::StrCat(
      "the scheduler ", scheduler.name, " sets what each update counts, and aggregation.combine ",
      aggregation.combine.name, " does not take that: ", takes.message(), "; ",
      lora ? "lora_stacking" : "fedavg", " does"));
}

AggregationSpec AggregationOf(const JobSpec& spec) {
  AggregationSpec aggregation = spec.aggregation;
  if (!spec.hypergradient || IsLocal(spec.hypergradient)) return aggregation;
  aggregation.hypergradient = Chosen("hypergradient", *spec.hypergradient);
  return aggregation;
}

bool FollowsDeltas(const JobSpec& spec) {
  const AggregationSpec aggregation = AggregationOf(spec);
  return aggregation.hypergradient || aggregation.optimizer.name == "hypergradient";
}

bool SetsClientRate(const JobSpec& spec) {
  const AggregationSpec aggregation = AggregationOf(spec);
  const auto sets = [](const config::Choice& optimizer) {
    return optimizer.name == "hypergradient" &&
           optimizer.options.value("variant", "") == "server_local";
  };
  return sets(aggregation.optimizer) ||
         (aggregation.hypergradient && sets(*aggregation.hypergradient));
}

TrainSpec TrainOf(const JobSpec& spec) {
  TrainSpec train = spec.train;
  if (!IsLocal(spec.hypergradient)) return train;
  LocalHypergradientOptions& local = train.hypergradient.emplace();
  if (spec.hypergradient->form == "cosine") local.rule = "cosine";
  local.bound = spec.hypergradient->bound.value_or(local.bound);
  local.gain = spec.hypergradient->gain;
  return train;
}

std::optional<LoraTerms> LoraTermsOf(const JobSpec& spec) {
  if (!spec.lora) return std::nullopt;
  return LoraTerms{.spec = *spec.lora,
                   .rule = spec.aggregation.combine.name,
                   .transposed_weights = spec.model.transposed_weights()};
}

absl::StatusOr<ErrorFeedback> ErrorFeedbackOf(const JobSpec& spec) {
  if (spec.lora) return ErrorFeedback::kOff;
  TRIB_ASSIGN_OR_RETURN(const auto codec, CreateCodec(spec.codec));
  const auto said = spec.error_feedback.value_or(config::Switch<ErrorFeedbackOptions>{});
  if (codec->lossless() || !said.on) return ErrorFeedback::kOff;
  TRIB_ASSIGN_OR_RETURN(const auto scheduler,
                        SchedulerRegistry().Create(spec.scheduler, SchedulerDeps{}));
  bool by_examples = scheduler->CountsByExamples();
  if (!scheduler->SetsCoefficients()) {
    TRIB_ASSIGN_OR_RETURN(const auto rule,
                          AggregatorRegistry().Create(spec.aggregation.combine, AggregatorDeps{}));
    by_examples = rule->CountsByExamples();
  }
  return ErrorFeedback(by_examples ? ErrorFeedback::kByExamples : ErrorFeedback::kEven,
                       said.options.momentum);
}

absl::StatusOr<JobSpec> ParseJobSpec(const config::Node& job) {
  return config::Parse<JobSpec>(job, "job");
}

absl::StatusOr<JobSpec> ParseJobSpecJson(const std::string& canonical_json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node job, config::NodeFromJsonText(canonical_json));
  return ParseJobSpec(job);
}

std::string CanonicalJson(const JobSpec& spec) {
  return config::Print(spec).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Digest ConfigDigest(const JobSpec& spec) { return Sha256::Of(CanonicalJson(spec)); }

}  // namespace tributary
