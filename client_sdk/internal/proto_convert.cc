#include "client_sdk/internal/proto_convert.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

absl::StatusOr<int64_t> SignedSize(absl::string_view field, uint64_t bytes) {
  if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat(field, " is ", bytes, ", beyond any size"));
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<WorkKind> ToWorkKind(v1::WorkKind kind) {
  switch (kind) {
    case v1::WORK_KIND_INITIALISE:
      return WorkKind::kInitialise;
    case v1::WORK_KIND_TRAIN:
      return WorkKind::kTrain;
    case v1::WORK_KIND_EVALUATE:
      return WorkKind::kEvaluate;
    case v1::WORK_KIND_EXPLORE:
      return WorkKind::kExplore;
    case v1::WORK_KIND_SKETCH:
      return WorkKind::kSketch;
    default:
      return absl::UnimplementedError(
          absl::StrCat("work of kind ", static_cast<int>(kind), " is not known to this client"));
  }
}

absl::StatusOr<ErrorFeedback::Weights> ToWeights(v1::ErrorFeedback feedback) {
  switch (feedback) {
    case v1::ERROR_FEEDBACK_OFF:
      return ErrorFeedback::kOff;
    case v1::ERROR_FEEDBACK_EVEN:
      return ErrorFeedback::kEven;
    case v1::ERROR_FEEDBACK_BY_EXAMPLES:
      return ErrorFeedback::kByExamples;
    default:
      return absl::UnimplementedError(absl::StrCat(
          "error feedback of kind ", static_cast<int>(feedback), " is not known to this client"));
  }
}

absl::StatusOr<RetryWindow> WindowFromProto(const v1::RetryWindow& retry) {
  const RetryWindow window{.min_delay = FromProto(retry.min_delay()),
                           .max_delay = FromProto(retry.max_delay())};
  if (window.min_delay >= absl::ZeroDuration() && window.max_delay >= window.min_delay) {
    return window;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("not a retry window: ", absl::FormatDuration(window.min_delay), " to ",
                   absl::FormatDuration(window.max_delay)));
}

absl::Status CheckRate(absl::string_view name, double rate) {
  if (std::isfinite(rate) && rate >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("not a work order: ", name, " ", rate, "; allowed: a finite number from 0"));
}

absl::StatusOr<WorkOrder> ToWorkOrder(const v1::WorkOrder& work) {
  if (!IsValidId(work.job_id()) || work.work_order_id() < 1 || work.version() < 0 ||
      work.local_steps() < 0 || work.adapter_rank() < 0 || work.task() < 0 || work.tasks() < 0 ||
      work.tasks() > work.task() + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a work order: job_id '", work.job_id(), "', work_order_id ",
                     work.work_order_id(), ", version ", work.version(), ", local_steps ",
                     work.local_steps(), ", task ", work.task(), ", tasks ", work.tasks()));
  }
  WorkOrder order;
  order.job = {.id = JobId(work.job_id()),
               .name = work.job_name(),
               .model_json = work.model_json(),
               .train_json = work.train_json()};
  order.id = work.work_order_id();
  TRIB_ASSIGN_OR_RETURN(order.kind, ToWorkKind(work.kind()));
  order.version = work.version();
  if (work.local_steps() > 0) order.local_steps = work.local_steps();
  TRIB_RETURN_IF_ERROR(CheckRate("client_rate", work.client_rate()));
  TRIB_RETURN_IF_ERROR(CheckRate("server_rate", work.server_rate()));
  if (work.client_rate() > 0) order.client_rate = work.client_rate();
  if (work.server_rate() > 0) order.server_rate = work.server_rate();
  if (work.has_deadline()) {
    order.deadline = absl::FromUnixSeconds(work.deadline().seconds()) +
                     absl::Nanoseconds(work.deadline().nanos());
  }
  order.seed = work.seed();
  order.task = work.task();
  order.tasks = std::max<int64_t>(1, work.tasks());
  if (order.kind == WorkKind::kExplore || order.kind == WorkKind::kSketch) {
    order.collect.kind =
        order.kind == WorkKind::kExplore ? CollectKind::kExplore : CollectKind::kSketch;
    order.collect.options_json = work.collect().options_json();
    TRIB_ASSIGN_OR_RETURN(order.collect.layout, FromProto(work.collect().layout()));
  }
  order.sketches = work.sketches();
  order.lora_json = work.lora_json();
  order.adapter_rank = work.adapter_rank();
  order.codec_json = work.codec_json();
  order.downlink_json = work.downlink_json();
  TRIB_ASSIGN_OR_RETURN(order.error_feedback.weights, ToWeights(work.error_feedback()));
  const double momentum = order.error_feedback.momentum = work.error_feedback_momentum();
  if (!(momentum >= 0 && momentum < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("error_feedback_momentum is ", momentum, "; allowed: from 0, below 1"));
  }
  if (work.has_liveness()) order.liveness = FromProto(work.liveness());
  return order;
}

// REFUSAL_CAUSE_NOT_FINITE -> not_finite.
std::string RefusalName(v1::RefusalCause cause) {
  constexpr absl::string_view kPrefix = "REFUSAL_CAUSE_";
  const std::string name = v1::RefusalCause_Name(cause);
  if (cause == v1::REFUSAL_CAUSE_UNSPECIFIED || name.size() <= kPrefix.size()) return "refused";
  return absl::AsciiStrToLower(name.substr(kPrefix.size()));
}

}  // namespace

void ToProto(absl::Duration duration, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void ToProto(const ParamLayout& layout, v1::ParamLayout* out) {
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    v1::TensorSpec* spec = out->add_tensors();
    spec->set_name(tensor.name);
    spec->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
    spec->set_buffer(tensor.kind == TensorKind::kBuffer);
  }
  out->set_digest(layout.digest().ToBytes());
}

absl::StatusOr<LayoutPtr> FromProto(const v1::ParamLayout& layout) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const v1::TensorSpec& spec : layout.tensors()) {
    tensors.push_back({.name = spec.name(),
                       .shape = {spec.shape().begin(), spec.shape().end()},
                       .kind = spec.buffer() ? TensorKind::kBuffer : TensorKind::kTrainable});
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr made, ParamLayout::Create(std::move(tensors)));
  TRIB_ASSIGN_OR_RETURN(const Digest stated, Digest::FromBytes(layout.digest()));
  if (made->digest() != stated) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the layout's digest is ", made->digest().ToHex(), ", stated was ", stated.ToHex()));
  }
  return made;
}

ServerLimits FromProto(const v1::EnrollResponse& response) {
  ServerLimits limits;
  if (response.max_chunk_bytes() > 0) limits.max_chunk_bytes = response.max_chunk_bytes();
  if (response.has_max_wait()) limits.max_wait = FromProto(response.max_wait());
  limits.server_agent = response.server_agent();
  return limits;
}

absl::StatusOr<CheckInAnswer> FromProto(const v1::CheckInResponse& response) {
  switch (response.answer_case()) {
    case v1::CheckInResponse::kWork: {
      TRIB_ASSIGN_OR_RETURN(WorkOrder order, ToWorkOrder(response.work()));
      return order;
    }
    case v1::CheckInResponse::kRetry: {
      TRIB_ASSIGN_OR_RETURN(const RetryWindow window, WindowFromProto(response.retry()));
      return window;
    }
    default:
      return absl::UnimplementedError("an answer to a check-in that this client does not know");
  }
}

absl::StatusOr<ModelHeader> FromProto(const v1::FetchModelHeader& header) {
  const v1::ModelHeader& sent = header.model();
  ModelHeader model{.job = JobId(sent.job_id()), .version = sent.version()};
  TRIB_ASSIGN_OR_RETURN(model.layout, FromProto(sent.layout()));
  TRIB_ASSIGN_OR_RETURN(model.model_digest, Digest::FromBytes(sent.model_digest()));
  TRIB_ASSIGN_OR_RETURN(model.total_bytes, SignedSize("total_bytes", sent.total_bytes()));
  for (const v1::ModelDelta& delta : header.deltas()) {
    TRIB_ASSIGN_OR_RETURN(const int64_t bytes, SignedSize("deltas.bytes", delta.bytes()));
    model.deltas.push_back({.version = delta.version(), .bytes = bytes});
  }
  if (header.has_mask_xxh128()) {
    model.mask_xxh128 = Xxh128{header.mask_xxh128().low(), header.mask_xxh128().high()};
    model.mask = header.mask();
  }
  return model;
}

void ToProto(const UpdateHeader& header, v1::UpdateHeader* out) {
  out->set_job_id(header.job.value());
  out->set_work_order_id(header.info.work_order);
  out->set_base_version(header.info.base_version);
  out->set_layout_digest(header.layout_digest.ToBytes());
  if (header.initial_layout != nullptr) ToProto(*header.initial_layout, out->mutable_layout());
  out->set_total_bytes(static_cast<uint64_t>(header.total_bytes));
  out->mutable_xxh128()->set_low(header.xxh128.low);
  out->mutable_xxh128()->set_high(header.xxh128.high);
  out->set_num_examples(header.info.num_examples);
  out->set_local_steps(header.info.local_steps);
  out->set_learning_rate(header.info.learning_rate);
  out->set_loss(header.info.loss);
  out->set_accuracy(header.info.accuracy);
}

absl::StatusOr<UploadAnswer> FromProto(const v1::UploadUpdateResponse& response) {
  UploadAnswer answer{.message = response.message()};
  TRIB_ASSIGN_OR_RETURN(answer.durable_bytes,
                        SignedSize("durable_bytes", response.durable_bytes()));
  switch (response.state()) {
    case v1::UploadUpdateResponse::STATE_PARTIAL:
      answer.state = UploadAnswer::State::kPartial;
      return answer;
    case v1::UploadUpdateResponse::STATE_ACCEPTED:
      answer.state = UploadAnswer::State::kAccepted;
      return answer;
    case v1::UploadUpdateResponse::STATE_REFUSED:
      answer.state = UploadAnswer::State::kRefused;
      answer.refusal = RefusalName(response.refusal());
      return answer;
    case v1::UploadUpdateResponse::STATE_RETRY: {
      answer.state = UploadAnswer::State::kRetry;
      TRIB_ASSIGN_OR_RETURN(answer.retry, WindowFromProto(response.retry()));
      return answer;
    }
    default:
      return absl::UnimplementedError(absl::StrCat("an upload's state ",
                                                   static_cast<int>(response.state()),
                                                   " is not known to this client"));
  }
}

void ToProto(const EvaluationReport& report, v1::ReportEvaluationRequest* out) {
  out->set_job_id(report.job.value());
  out->set_work_order_id(report.work_order);
  out->set_version(report.version);
  out->set_num_examples(report.result.num_examples);
  out->set_loss(report.result.loss);
  out->set_accuracy(report.result.accuracy);
  out->mutable_metrics()->insert(report.result.metrics.begin(), report.result.metrics.end());
  for (const EvalResult& task : report.tasks) {
    v1::TaskResult* const result = out->add_tasks();
    result->set_num_examples(task.num_examples);
    result->set_loss(task.loss);
    result->set_accuracy(task.accuracy);
  }
}

v1::AbandonWorkRequest::Reason ToProto(AbandonReason reason) {
  switch (reason) {
    case AbandonReason::kOther:
      return v1::AbandonWorkRequest::REASON_UNSPECIFIED;
    case AbandonReason::kStopped:
      return v1::AbandonWorkRequest::REASON_STOPPED;
    case AbandonReason::kTrainerFailed:
      return v1::AbandonWorkRequest::REASON_TRAINER_FAILED;
    case AbandonReason::kTooLate:
      return v1::AbandonWorkRequest::REASON_TOO_LATE;
    case AbandonReason::kNotAllowed:
      return v1::AbandonWorkRequest::REASON_NOT_ALLOWED;
    case AbandonReason::kDiverged:
      return v1::AbandonWorkRequest::REASON_DIVERGED;
  }
  return v1::AbandonWorkRequest::REASON_UNSPECIFIED;
}

}  // namespace tributary::sdk
