// What a session does for one work order: makes a model, trains, evaluates, sends what came of it.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/downloader.h"
#include "client_sdk/internal/session.h"
#include "common/codec/adapter_step.h"
#include "common/codec/adapter_update.h"
#include "common/codec/codec_registry.h"
#include "common/codec/error_feedback.h"
#include "common/codec/update_payload.h"
#include "common/config/schema.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/train_spec/train_spec.h"

namespace tributary::sdk {
namespace {

struct CodecSection {
  std::vector<config::Choice> codec;

  static void Describe(config::Fields<CodecSection>& fields) {
    fields.Add("codec", &CodecSection::codec, "stages in order")
        .Alternatives(CodecRegistry().Alternatives());
  }
};

// trained - base where there are gradients, the trained values where there are none.
void SubtractBase(const ParamVector& base, ParamVector& trained) {
  AddScaled(-1.0f, base.trainable(), trained.trainable());
}

absl::string_view BytesOf(absl::Span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Codec>> ParseCodec(const std::string& codec_json,
                                                        bool error_feedback) {
  if (codec_json.empty()) return CreateCodec({});
  TRIB_ASSIGN_OR_RETURN(config::Node list, config::NodeFromJsonText(codec_json));
  config::Node section{.kind = config::Node::Kind::kMapping};
  section.members.push_back({.key = "codec", .position = {}, .value = std::move(list)});
  TRIB_ASSIGN_OR_RETURN(CodecSection parsed, config::Parse<CodecSection>(section));
  return CreateCodec(parsed.codec, error_feedback);
}

absl::StatusOr<std::unique_ptr<const VersionDelta>> ParseDownlink(const std::string& downlink_json,
                                                                  const std::string& lora_json) {
  if (downlink_json.empty()) return nullptr;
  TRIB_ASSIGN_OR_RETURN(const config::Node section, config::NodeFromJsonText(downlink_json));
  TRIB_ASSIGN_OR_RETURN(const auto spec, config::Parse<DownlinkSpec>(section));
  if (!lora_json.empty()) {
    TRIB_ASSIGN_OR_RETURN(LoraTerms terms, ParseLoraTerms(lora_json));
    return AdapterStepCodec::Create(spec, std::move(terms));
  }
  return ModelDifference::Create(spec);
}

absl::Status Session::BringProgram(Work& work, JobInfo& job) {
  const auto node = config::NodeFromJsonText(job.model_json);
  const auto model = node.ok() ? config::Parse<ModelSpec>(*node, "model")
                               : absl::StatusOr<ModelSpec>(node.status());
  if (!model.ok() || !model->program) return absl::OkStatus();  // the trainer will see what it is
  if (!options_.allow_programs) {
    work.reason = AbandonReason::kNotAllowed;
    return absl::FailedPreconditionError(
        absl::StrCat("the job's model is a TorchScript program of ", model->program->bytes,
                     " bytes, SHA-256 ", model->program->sha256,
                     "; this client runs none that comes from a server unless its operator sets "
                     "allow_programs (tributary-client --allow-programs)"));
  }
  Retry retry = NewRetry(work, "program");
  TRIB_ASSIGN_OR_RETURN(
      job.program, programs_.Get(*connection_, job.id, *model->program, options_.max_model_bytes,
                                 Transfer(work, ClientEvent::Kind::kDownloading), retry));
  return absl::OkStatus();
}

absl::Status Session::Do(Work& work) {
  switch (work.order.kind) {
    case WorkKind::kInitialise:
      return Initialise(work);
    case WorkKind::kTrain:
      return Train(work);
    case WorkKind::kEvaluate:
      return Evaluate(work);
    case WorkKind::kExplore:
      return Explore(work);
    case WorkKind::kSketch:
      return SketchInputs(work);
  }
  return absl::UnimplementedError("a kind of work that this client does not know");
}

absl::Status Session::CheckSketches(Work& work) {
  if (!work.order.sketches) return absl::OkStatus();
  const absl::Status status = trainer_->CanSketchInputs(work.order.job);
  if (!status.ok()) work.reason = AbandonReason::kTrainerFailed;
  return status;
}

absl::Status Session::Initialise(Work& work) {
  TRIB_RETURN_IF_ERROR(CheckSketches(work));
  work.reason = AbandonReason::kTrainerFailed;
  TRIB_ASSIGN_OR_RETURN(ParamVector made, trainer_->InitialModel(work.order.job, work.order.seed));
  const auto owner = std::make_shared<const ParamVector>(std::move(made));
  const ParamVector& model = *owner;
  if (model.empty()) return absl::InternalError("the trainer made a model without a layout");
  TRIB_RETURN_IF_ERROR(CheckFinite(*model.layout(), model.values()));
  work.reason = AbandonReason::kOther;

  UpdateHeader header{.initial_layout = model.layout()};
  header.layout_digest = model.layout()->digest();
  header.job = work.order.job.id;
  header.info.work_order = work.order.id;
  TRIB_ASSIGN_OR_RETURN(const UploadAnswer answer,
                        UploadPayload(work, std::move(header), BytesOf(model.values()), owner));
  return Judge(work, answer);
}

absl::Status Session::Train(Work& work) {
  const WorkOrder& order = work.order;
  TRIB_RETURN_IF_ERROR(CheckSketches(work));
  TRIB_ASSIGN_OR_RETURN(
      const std::unique_ptr<const Codec> codec,
      ParseCodec(order.codec_json, order.error_feedback.weights != ErrorFeedback::kOff));
  TrainTask task{
      .job = order.job, .work_order = order.id, .base_version = order.version, .task = order.task};
  if (order.server_rate) {
    // First, while it is the one in the cache. One that is stored no more is done without.
    auto previous = FetchModel(work, order.version - 1);
    if (!previous.ok() && !absl::IsNotFound(previous.status())) return previous.status();
    if (previous.ok()) task.previous = *std::move(previous);
    task.server_rate = *order.server_rate;
  }
  TRIB_ASSIGN_OR_RETURN(const std::shared_ptr<const ParamVector> base,
                        FetchModel(work, order.version));
  task.mask = MaskOf(order.job.id);
  task.local_steps = order.local_steps;
  task.client_rate = order.client_rate;
  task.deadline = order.deadline;
  task.rng = Rng(order.seed);
  task.stop = work.stop;
  task.progress = Progress(work);
  task.progress(0, order.local_steps.value_or(0));
  work.reason = AbandonReason::kTrainerFailed;
  if (!order.lora_json.empty()) return TrainAdapter(work, *codec, task, base);
  ParamVector model = base->Clone();
  TRIB_ASSIGN_OR_RETURN(const TrainResult result, trainer_->Train(task, model));
  if (model.empty() || model.layout()->digest() != base->layout()->digest()) {
    return absl::InternalError("the trainer changed the model's layout");
  }
  if (work.stop.stop_requested()) return absl::CancelledError("stopped");
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckFinite(*model.layout(), model.values()), "training diverged"));
  work.reason = AbandonReason::kOther;

  SubtractBase(*base, model);
  const LayoutPtr layout = model.layout();
  const CodecContext context{.layout = layout,
                             .rng = Rng(order.seed).Split("codec"),
                             .mask = task.mask.get(),
                             .task = order.task,
                             .version = order.version};
  TRIB_ASSIGN_OR_RETURN(
      EncodedUpdate encoded,
      EncodeWithFeedback(*codec, order.error_feedback, std::move(model), result.num_examples,
                         residuals_.Find(order.job.id), context));
  return SendUpdate(work, result, layout, std::move(encoded));
}

absl::Status Session::TrainAdapter(Work& work, const Codec& codec, const TrainTask& task,
                                   std::shared_ptr<const ParamVector> base) {
  const WorkOrder& order = work.order;
  TRIB_ASSIGN_OR_RETURN(const LoraTerms terms, ParseLoraTerms(order.lora_json));
  if (order.adapter_rank < 1 || order.adapter_rank > terms.spec.max_rank()) {
    return absl::InvalidArgumentError(absl::StrCat("not a work order: adapter_rank ",
                                                   order.adapter_rank, "; allowed: 1 to ",
                                                   terms.spec.max_rank()));
  }
  TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(terms, *base->layout()));
  const AdapterOrder adapter_order{
      .plan = *plan, .rank = order.adapter_rank, .base = order.version, .seed = order.seed};
  const ParamVector start = BeginAdapter(adapter_order, *base, residuals_.Find(order.job.id));
  ParamVector adapter = start.Clone();
  TRIB_ASSIGN_OR_RETURN(const TrainResult result,
                        trainer_->TrainAdapter(task,
                                               {.plan = plan,
                                                .model = std::move(base),
                                                .rank = order.adapter_rank,
                                                .trains = plan->rule().TrainsFrom(order.version)},
                                               adapter));
  if (adapter.empty() || adapter.layout()->digest() != start.layout()->digest()) {
    return absl::InternalError("the trainer changed the adapter's layout");
  }
  if (work.stop.stop_requested()) return absl::CancelledError("stopped");
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckFinite(*adapter.layout(), adapter.values()), "training diverged"));
  work.reason = AbandonReason::kOther;
  return SendUpdate(work, result,
                    plan->AdapterLayout(order.adapter_rank, plan->rule().SendsFrom(order.version)),
                    EncodeAdapter(codec, adapter_order, start, adapter));
}

absl::Status Session::SendUpdate(Work& work, const TrainResult& result, const LayoutPtr& layout,
                                 EncodedUpdate encoded) {
  const WorkOrder& order = work.order;
  OutgoingUpdate update{.header = {.job = order.job.id, .layout_digest = layout->digest()},
                        .job_name = order.job.name};
  update.header.info = {.work_order = order.id,
                        .base_version = order.version,
                        .num_examples = result.num_examples,
                        .local_steps = result.local_steps,
                        .learning_rate = result.learning_rate,
                        .loss = result.loss,
                        .accuracy = result.accuracy};
  update.payload = std::make_shared<const std::string>(std::move(encoded.payload));
  update.residual = std::move(encoded.residual);
  outbox_.Put(std::move(update));
  return SendOutbox(work, /*resume=*/false);
}

absl::Status Session::Evaluate(Work& work) {
  const WorkOrder& order = work.order;
  TRIB_ASSIGN_OR_RETURN(std::shared_ptr<const ParamVector> model, FetchModel(work, order.version));
  if (!order.lora_json.empty()) {
    TRIB_ASSIGN_OR_RETURN(const LoraTerms terms, ParseLoraTerms(order.lora_json));
    TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(terms, *model->layout()));
    if (plan->rule().keeps_adapter) {
      model = std::make_shared<const ParamVector>(
          EvaluatedModel(*plan, *model, residuals_.Find(order.job.id)));
    }
  }
  Emit(ClientEvent::Kind::kEvaluating, &order);
  EvalTask task{.job = order.job, .work_order = order.id, .version = order.version};
  task.stop = work.stop;
  work.reason = AbandonReason::kTrainerFailed;
  EvaluationReport report{.job = order.job.id, .work_order = order.id, .version = order.version};
  for (task.task = order.task - order.tasks + 1; task.task <= order.task; ++task.task) {
    TRIB_ASSIGN_OR_RETURN(report.result, trainer_->Evaluate(task, *model));
    if (order.tasks > 1) report.tasks.push_back(report.result);
  }
  work.reason = AbandonReason::kOther;

  Retry retry = NewRetry(work, "report");
  for (;;) {
    const absl::StatusOr<EvaluationAnswer> answer =
        connection_->ReportEvaluation(report, work.stop);
    if (answer.ok() && answer->counted) return absl::OkStatus();
    if (answer.ok()) {
      work.refused = true;
      return absl::FailedPreconditionError(answer->message);
    }
    TRIB_RETURN_IF_ERROR(retry.AfterFailure(answer.status()));
  }
}

std::function<void(int64_t, int64_t)> Session::Progress(const Work& work) const {
  return [this, &work](int64_t steps_done, int64_t steps_total) {
    work.heartbeat->SetProgress(steps_done, steps_total);
    Emit(ClientEvent::Kind::kTraining, &work.order, "", steps_done, steps_total);
  };
}

// ---- contributions ---------------------------------------------------------------------

CollectTask Session::CollectTaskOf(const Work& work) const {
  const WorkOrder& order = work.order;
  return {.job = order.job,
          .work_order = order.id,
          .version = order.version,
          .task = order.task,
          .request = order.collect,
          .rng = Rng(order.seed),
          .stop = work.stop,
          .progress = Progress(work)};
}

absl::Status Session::Explore(Work& work) {
  TRIB_ASSIGN_OR_RETURN(const std::shared_ptr<const ParamVector> base,
                        FetchModel(work, work.order.version));
  ParamVector model = base->Clone();
  work.reason = AbandonReason::kTrainerFailed;
  TRIB_ASSIGN_OR_RETURN(const TrainResult result, trainer_->Explore(CollectTaskOf(work), model));
  if (model.empty() || model.layout()->digest() != base->layout()->digest()) {
    return absl::InternalError("the trainer changed the model's layout");
  }
  TRIB_ASSIGN_OR_RETURN(ParamVector deviations, Deviations(*base, model, work.order.collect));
  return SendContribution(work,
                          {.num_examples = result.num_examples, .local_steps = result.local_steps},
                          std::move(deviations));
}

absl::Status Session::SketchInputs(Work& work) {
  TRIB_ASSIGN_OR_RETURN(const std::shared_ptr<const ParamVector> model,
                        FetchModel(work, work.order.version));
  ParamVector sketch(work.order.collect.layout);
  work.reason = AbandonReason::kTrainerFailed;
  TRIB_ASSIGN_OR_RETURN(const int64_t examples,
                        trainer_->SketchInputs(CollectTaskOf(work), *model, sketch));
  return SendContribution(work, {.num_examples = examples, .local_steps = 1}, std::move(sketch));
}

// What an update left out before belongs to what has ended now: it goes.
absl::Status Session::SendContribution(Work& work, UpdateInfo info, ParamVector contribution) {
  if (work.stop.stop_requested()) return absl::CancelledError("stopped");
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckFinite(*contribution.layout(), contribution.values()), "the contribution"));
  work.reason = AbandonReason::kOther;
  const WorkOrder& order = work.order;
  info.work_order = order.id;
  info.base_version = order.version;
  OutgoingUpdate update{
      .header = {.job = order.job.id, .layout_digest = contribution.layout()->digest()},
      .job_name = order.job.name};
  update.header.info = info;
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<const Codec> raw, CreateCodec({}));
  update.payload = std::make_shared<const std::string>(
      EncodeUpdate(*raw, contribution, {.layout = contribution.layout()}));
  outbox_.Put(std::move(update));
  return SendOutbox(work, /*resume=*/false);
}

absl::StatusOr<std::shared_ptr<const ParamVector>> Session::FetchModel(Work& work,
                                                                       Version version) {
  Retry retry = NewRetry(work, "fetch");
  const auto delta = ParseDownlink(work.order.downlink_json, work.order.lora_json);
  if (!delta.ok()) log::Warning("versions are fetched whole", {{"error", delta.status()}});
  return Download(*connection_, work.order.job.id, version, options_.max_model_bytes,
                  Transfer(work, ClientEvent::Kind::kDownloading), cache_, retry,
                  delta.ok() ? delta->get() : nullptr);
}

std::shared_ptr<const Mask> Session::MaskOf(const JobId& job) const {
  const HeldMask* const held = cache_.FindMask(job);
  return held == nullptr ? nullptr : held->mask;
}

absl::StatusOr<bool> Session::SettleOutbox() {
  TRIB_RETURN_IF_ERROR(EnrollIfNeeded());
  const OutgoingUpdate& update = *outbox_.update();
  WorkOrder order{.job = {.id = update.header.job, .name = update.job_name}};
  order.id = update.header.info.work_order;
  order.version = update.header.info.base_version;
  Work work{.order = order, .stop = stop_, .heartbeat = nullptr};
  const absl::Status sent = SendOutbox(work, /*resume=*/true);
  if (sent.ok()) {
    Emit(ClientEvent::Kind::kAccepted, &order);
    return true;
  }
  if (!work.refused && (IsRetryable(sent) || IsNotAllowed(sent) || stop_.stop_requested())) {
    return sent;
  }
  // Refused, or a call that no repetition puts right.
  log::Info("update in the outbox not counted",
            {{"job", order.job.id.value()}, {"order", order.id}, {"why", sent.message()}});
  if (!work.refused) outbox_.Remove();
  return false;
}

absl::Status Session::SendOutbox(Work& work, bool resume) {
  OutgoingUpdate& update = *outbox_.update();
  TRIB_ASSIGN_OR_RETURN(
      const UploadAnswer answer,
      UploadPayload(work, update.header, *update.payload, update.payload, resume));
  if (answer.state == UploadAnswer::State::kAccepted) {
    residuals_.Commit(update.header.job, std::move(update.residual));
  }
  outbox_.Remove();
  return Judge(work, answer);
}

absl::StatusOr<UploadAnswer> Session::UploadPayload(const Work& work, UpdateHeader header,
                                                    absl::string_view payload,
                                                    std::shared_ptr<const void> owner,
                                                    bool resume) {
  Retry retry = NewRetry(work, "upload");
  TransferOptions options = Transfer(work, ClientEvent::Kind::kUploading);
  options.resume = resume;
  options.owner = std::move(owner);
  return Upload(*connection_, std::move(header), payload, options, retry);
}

absl::Status Session::Judge(Work& work, const UploadAnswer& answer) const {
  if (answer.state == UploadAnswer::State::kAccepted) return absl::OkStatus();
  work.refused = true;
  return absl::FailedPreconditionError(absl::StrCat(answer.refusal, ": ", answer.message));
}

}  // namespace tributary::sdk
