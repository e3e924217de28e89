#include "client_sdk/internal/session.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/downloader.h"
#include "common/codec/codec_registry.h"
#include "common/codec/update_payload.h"
#include "common/config/schema.h"
#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

struct CodecSection {
  std::vector<config::Choice> codec;

  static void Describe(config::Fields<CodecSection>& fields) {
    fields.Add("codec", &CodecSection::codec, "stages in order")
        .Alternatives(CodecRegistry().Alternatives());
  }
};

// Of an answer to Enroll or CheckIn: no repetition will change it.
bool IsFinal(const absl::Status& status) {
  return IsNotAllowed(status) || absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
}

RetryOptions WithLimit(RetryOptions options, absl::Duration give_up_after) {
  options.give_up_after = give_up_after;
  return options;
}

// trained - base where there are gradients, the trained values where there are none.
void SubtractBase(const ParamVector& base, ParamVector& trained) {
  AddScaled(-1.0f, base.trainable(), trained.trainable());
}

absl::string_view BytesOf(absl::Span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Codec>> ParseCodec(const std::string& codec_json) {
  if (codec_json.empty()) return CreateCodec({});
  TRIB_ASSIGN_OR_RETURN(config::Node list, config::NodeFromJsonText(codec_json));
  config::Node section{.kind = config::Node::Kind::kMapping};
  section.members.push_back({.key = "codec", .position = {}, .value = std::move(list)});
  TRIB_ASSIGN_OR_RETURN(CodecSection parsed, config::Parse<CodecSection>(section));
  return CreateCodec(parsed.codec);
}

Session::Session(const ClientOptions& options, Trainer* trainer, Connection* connection,
                 Clock* clock, std::stop_token stop)
    : options_(options),
      trainer_(trainer),
      connection_(connection),
      clock_(clock),
      stop_(std::move(stop)),
      // Differs between clients and runs: it only spreads their calls over time.
      rng_(Rng(static_cast<uint64_t>(absl::ToUnixNanos(clock->Now()))).Split(options.id.value())),
      cache_(options.cached_models, options.cache_dir),
      reconnect_(WithLimit(options.retry, options.connect_limit), clock, rng_.Split("reconnect"),
                 stop_),
      after_failed_work_(WithLimit(options.retry, absl::InfiniteDuration()), clock,
                         rng_.Split("failed work"), stop_) {}

absl::Status Session::Run() {
  once_ = false;
  return Loop(options_.idle_limit);
}

absl::Status Session::RunOnce() {
  once_ = true;
  return Loop(options_.once_limit);
}

absl::Status Session::Loop(absl::Duration idle_limit) {
  for (idle_since_ = clock_->Now(); !stop_.stop_requested();) {
    const absl::Duration left = idle_limit - (clock_->Now() - idle_since_);
    if (left <= absl::ZeroDuration()) return NoWork(idle_limit);
    const absl::StatusOr<CheckInAnswer> answer = AskForWork(std::min(options_.max_wait, left));
    if (!answer.ok()) {
      TRIB_RETURN_IF_ERROR(Reconnect(answer.status()));
    } else if (const auto* window = std::get_if<RetryWindow>(&*answer)) {
      Emit(ClientEvent::Kind::kWaiting);
      const absl::Duration spread = window->max_delay - window->min_delay;
      clock_->SleepFor(std::min(window->min_delay + spread * rng_.Uniform(), left), stop_);
    } else {
      const WorkOrder& order = std::get<WorkOrder>(*answer);
      const absl::StatusOr<bool> counted = Perform(order);
      idle_since_ = clock_->Now();
      if (IsNotAllowed(counted.status())) return counted.status();
      const WorkKind wanted = options_.evaluate_only ? WorkKind::kEvaluate : WorkKind::kTrain;
      if (once_ && order.kind == wanted && !(counted.ok() && !*counted)) return counted.status();
      if (counted.ok()) {
        after_failed_work_.Succeeded();
      } else {
        TRIB_RETURN_IF_ERROR(after_failed_work_.SleepAfter(counted.status()));
      }
    }
  }
  return absl::CancelledError("stopped");
}

absl::Status Session::NoWork(absl::Duration limit) const {
  if (!enrolled_ && (once_ || !ever_enrolled_)) return Unreachable(limit);
  if (!once_) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("no work within ", absl::FormatDuration(limit)));
}

absl::Status Session::Unreachable(absl::Duration limit) const {
  return absl::UnavailableError(absl::StrCat("no answer from ", options_.server, " within ",
                                             absl::FormatDuration(limit), ": ",
                                             last_failure_.ToString()));
}

absl::Status Session::Reconnect(const absl::Status& failure) {
  if (stop_.stop_requested()) return absl::CancelledError("stopped");
  const bool refused_at_the_door = !enrolled_ && absl::IsFailedPrecondition(failure);
  if (IsFinal(failure) || refused_at_the_door) return failure;
  enrolled_ = false;
  Emit(ClientEvent::Kind::kDisconnected, nullptr, failure.ToString());
  last_failure_ = failure;
  const absl::Status again = reconnect_.SleepAfter(failure);
  if (again.ok() || absl::IsCancelled(again)) return again;
  return Unreachable(options_.connect_limit);
}

absl::StatusOr<CheckInAnswer> Session::AskForWork(absl::Duration max_wait) {
  if (!enrolled_) {
    TRIB_ASSIGN_OR_RETURN(limits_, connection_->Enroll(stop_));
    if (limits_.max_chunk_bytes < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the server takes chunks of at most ", limits_.max_chunk_bytes, " bytes"));
    }
    enrolled_ = true;
    ever_enrolled_ = true;
    Emit(ClientEvent::Kind::kEnrolled, nullptr, limits_.server_agent);
  }
  TRIB_ASSIGN_OR_RETURN(CheckInAnswer answer,
                        connection_->CheckIn(std::min(max_wait, limits_.max_wait), stop_));
  reconnect_.Succeeded();
  return answer;
}

absl::StatusOr<bool> Session::Perform(const WorkOrder& order) {
  Emit(ClientEvent::Kind::kWorkReceived, &order);
  std::stop_source work_stop;
  const std::stop_callback link(stop_, [&work_stop] { work_stop.request_stop(); });
  absl::Status done;
  {
    Heartbeat heartbeat(connection_, order, &work_stop);
    Work work{.order = order, .stop = work_stop.get_token(), .heartbeat = &heartbeat};
    switch (order.kind) {
      case WorkKind::kInitialise:
        done = Initialise(work);
        break;
      case WorkKind::kTrain:
        done = Train(work);
        break;
      case WorkKind::kEvaluate:
        done = Evaluate(work);
        break;
    }
    if (!done.ok()) return GiveBack(work, done);
  }
  Emit(ClientEvent::Kind::kAccepted, &order);
  return true;
}

absl::StatusOr<bool> Session::GiveBack(const Work& work, const absl::Status& failure) {
  const std::string message(failure.message());
  if (work.refused) {
    Emit(ClientEvent::Kind::kRefused, &work.order, message);
    return failure;
  }
  if (work.heartbeat->withdrawn()) {
    Emit(ClientEvent::Kind::kWithdrawn, &work.order);
    return false;
  }
  // The server may have restarted meanwhile: enroll again, which costs little.
  if (work.reason == AbandonReason::kOther) enrolled_ = false;
  Emit(ClientEvent::Kind::kFailed, &work.order, failure.ToString());
  AbandonNotice notice{.job = work.order.job.id, .work_order = work.order.id};
  notice.reason = stop_.stop_requested() ? AbandonReason::kStopped : work.reason;
  notice.message = failure.ToString();
  // If it does not arrive, the server learns it from the silence.
  connection_->AbandonWork(notice).IgnoreError();
  return failure;
}

absl::Status Session::Initialise(Work& work) {
  work.reason = AbandonReason::kTrainerFailed;
  TRIB_ASSIGN_OR_RETURN(const ParamVector model,
                        trainer_->InitialModel(work.order.job, work.order.seed));
  if (model.empty()) return absl::InternalError("the trainer made a model without a layout");
  TRIB_RETURN_IF_ERROR(CheckFinite(*model.layout(), model.values()));
  work.reason = AbandonReason::kOther;

  UpdateHeader header{.initial_layout = model.layout()};
  header.layout_digest = model.layout()->digest();
  return UploadPayload(work, std::move(header), BytesOf(model.values()));
}

absl::Status Session::Train(Work& work) {
  const WorkOrder& order = work.order;
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<const Codec> codec, ParseCodec(order.codec_json));
  TRIB_ASSIGN_OR_RETURN(const std::shared_ptr<const ParamVector> base, FetchModel(work));

  TrainTask task{.job = order.job, .work_order = order.id, .base_version = order.version};
  task.local_steps = order.local_steps;
  task.deadline = order.deadline;
  task.rng = Rng(order.seed);
  task.stop = work.stop;
  task.progress = [&](int64_t steps_done, int64_t steps_total) {
    work.heartbeat->SetProgress(steps_done, steps_total);
    Emit(ClientEvent::Kind::kTraining, &order, "", steps_done, steps_total);
  };
  task.progress(0, order.local_steps.value_or(0));
  work.reason = AbandonReason::kTrainerFailed;
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
  CodecContext context{.layout = model.layout(), .rng = Rng(order.seed).Split("codec")};
  const std::string payload = EncodeUpdate(*codec, model, context);
  UpdateHeader header{.layout_digest = model.layout()->digest()};
  header.info.base_version = order.version;
  header.info.num_examples = result.num_examples;
  header.info.local_steps = result.local_steps;
  header.info.learning_rate = result.learning_rate;
  header.info.loss = result.loss;
  header.info.accuracy = result.accuracy;
  model = ParamVector();
  return UploadPayload(work, std::move(header), payload);
}

absl::Status Session::Evaluate(Work& work) {
  const WorkOrder& order = work.order;
  TRIB_ASSIGN_OR_RETURN(const std::shared_ptr<const ParamVector> model, FetchModel(work));
  Emit(ClientEvent::Kind::kEvaluating, &order);
  EvalTask task{.job = order.job, .work_order = order.id, .version = order.version};
  task.stop = work.stop;
  work.reason = AbandonReason::kTrainerFailed;
  EvaluationReport report{.job = order.job.id, .work_order = order.id, .version = order.version};
  TRIB_ASSIGN_OR_RETURN(report.result, trainer_->Evaluate(task, *model));
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

absl::StatusOr<std::shared_ptr<const ParamVector>> Session::FetchModel(Work& work) {
  Retry retry = NewRetry(work, "fetch");
  return Download(*connection_, work.order.job.id, work.order.version, options_.max_model_bytes,
                  Transfer(work, ClientEvent::Kind::kDownloading), cache_, retry);
}

absl::Status Session::UploadPayload(Work& work, UpdateHeader header, absl::string_view payload) {
  header.job = work.order.job.id;
  header.info.work_order = work.order.id;
  Retry retry = NewRetry(work, "upload");
  TRIB_ASSIGN_OR_RETURN(const UploadAnswer answer,
                        Upload(*connection_, std::move(header), payload,
                               Transfer(work, ClientEvent::Kind::kUploading), retry));
  if (answer.state == UploadAnswer::State::kAccepted) return absl::OkStatus();
  work.refused = true;
  return absl::FailedPreconditionError(absl::StrCat(answer.refusal, ": ", answer.message));
}

Retry Session::NewRetry(const Work& work, absl::string_view name) const {
  absl::Duration limit = std::min(options_.retry.give_up_after, options_.connect_limit);
  if (once_) limit = std::min(limit, options_.once_limit);
  Rng rng = rng_.Split(name).Split(static_cast<uint64_t>(work.order.id));
  return Retry(WithLimit(options_.retry, limit), clock_, std::move(rng), work.stop);
}

TransferOptions Session::Transfer(const Work& work, ClientEvent::Kind kind) const {
  TransferOptions options{.max_chunk_bytes = limits_.max_chunk_bytes, .stop = work.stop};
  options.progress = [this, &work, kind](int64_t done, int64_t total) {
    Emit(kind, &work.order, "", done, total);
  };
  return options;
}

void Session::Emit(ClientEvent::Kind kind, const WorkOrder* order, std::string message,
                   int64_t done, int64_t total) const {
  if (!options_.on_event) return;
  ClientEvent event{.kind = kind};
  if (order != nullptr) {
    event.job = order->job.id;
    event.job_name = order->job.name;
    event.work = std::string(WorkKindName(order->kind));
    event.work_order = order->id;
    event.version = order->version;
  }
  event.done = done;
  event.total = total;
  event.message = std::move(message);
  options_.on_event(event);
}

}  // namespace tributary::sdk
