#include "server/rpc/wire.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/coordinator/run_summary.h"

namespace tributary::wire {
namespace {

v1::WorkKind ToProto(WorkKind kind) {
  switch (kind) {
    case WorkKind::kInitialise:
      return v1::WORK_KIND_INITIALISE;
    case WorkKind::kTrain:
      return v1::WORK_KIND_TRAIN;
    case WorkKind::kEvaluate:
      return v1::WORK_KIND_EVALUATE;
    case WorkKind::kExplore:
      return v1::WORK_KIND_EXPLORE;
    case WorkKind::kSketch:
      return v1::WORK_KIND_SKETCH;
  }
  return v1::WORK_KIND_UNSPECIFIED;
}

v1::ErrorFeedback ToProto(ErrorFeedback::Weights weights) {
  switch (weights) {
    case ErrorFeedback::kOff:
      return v1::ERROR_FEEDBACK_OFF;
    case ErrorFeedback::kEven:
      return v1::ERROR_FEEDBACK_EVEN;
    case ErrorFeedback::kByExamples:
      return v1::ERROR_FEEDBACK_BY_EXAMPLES;
  }
  return v1::ERROR_FEEDBACK_OFF;
}

v1::RefusalCause ToProto(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return v1::REFUSAL_CAUSE_UNSPECIFIED;
    case Refusal::kUnknownWorkOrder:
      return v1::REFUSAL_CAUSE_UNKNOWN_WORK_ORDER;
    case Refusal::kWrongLayout:
      return v1::REFUSAL_CAUSE_WRONG_LAYOUT;
    case Refusal::kNotFinite:
      return v1::REFUSAL_CAUSE_NOT_FINITE;
    case Refusal::kBadWeight:
      return v1::REFUSAL_CAUSE_BAD_WEIGHT;
    case Refusal::kCorrupt:
      return v1::REFUSAL_CAUSE_CORRUPT;
    case Refusal::kTooLarge:
      return v1::REFUSAL_CAUSE_TOO_LARGE;
  }
  return v1::REFUSAL_CAUSE_UNSPECIFIED;
}

v1::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kInitialising:
      return v1::JOB_STATE_INITIALISING;
    case JobState::kRunning:
      return v1::JOB_STATE_RUNNING;
    case JobState::kPaused:
      return v1::JOB_STATE_PAUSED;
    case JobState::kDone:
      return v1::JOB_STATE_DONE;
    case JobState::kCancelled:
      return v1::JOB_STATE_CANCELLED;
    case JobState::kFailed:
      return v1::JOB_STATE_FAILED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

v1::JobPhase ToProto(JobPhase phase) {
  switch (phase) {
    case JobPhase::kInitialise:
      return v1::JOB_PHASE_INITIALISE;
    case JobPhase::kExplore:
      return v1::JOB_PHASE_EXPLORE;
    case JobPhase::kTrain:
      return v1::JOB_PHASE_TRAIN;
    case JobPhase::kEndTask:
      return v1::JOB_PHASE_END_TASK;
    case JobPhase::kSketch:
      return v1::JOB_PHASE_SKETCH;
  }
  return v1::JOB_PHASE_UNSPECIFIED;
}

void PutTasks(const JobProgress& progress, v1::Job* out) {
  for (const std::vector<double>& row : progress.task_accuracy) {
    out->add_task_accuracies()->mutable_accuracy()->Add(row.begin(), row.end());
  }
  const std::optional<TaskFigures> figures = FiguresOfTasks(progress);
  if (!figures) return;
  out->set_average_accuracy(figures->average_accuracy);
  if (figures->forgetting) out->set_forgetting(*figures->forgetting);
}

template <typename Record>
void PutEvaluation(const Record& record, v1::Evaluation* out) {
  out->set_version(record.version);
  out->set_loss(record.loss);
  out->set_accuracy(record.accuracy);
  out->set_num_examples(record.num_examples);
}

void PutWindow(const RetryWindow& window, v1::RetryWindow* out) {
  Put(window.min_delay, out->mutable_min_delay());
  Put(window.max_delay, out->mutable_max_delay());
}

void PutLayout(const ParamLayout& layout, v1::ParamLayout* out) {
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    v1::TensorSpec& spec = *out->add_tensors();
    spec.set_name(tensor.name);
    spec.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
    spec.set_buffer(tensor.kind == TensorKind::kBuffer);
  }
  out->set_digest(layout.digest().ToBytes());
}

void PutWork(const WorkItem& item, v1::WorkOrder* out) {
  const WorkOrder& order = item.order;
  out->set_job_id(item.job.value());
  out->set_work_order_id(order.id);
  out->set_kind(ToProto(order.kind));
  out->set_version(order.version);
  out->set_local_steps(order.local_steps.value_or(0));
  if (order.deadline != absl::InfiniteFuture()) Put(order.deadline, out->mutable_deadline());
  out->set_seed(order.seed);
  out->set_job_name(item.job_name);
  out->set_model_json(item.model_json);
  out->set_train_json(item.train_json);
  out->set_codec_json(item.codec_json);
  out->set_downlink_json(item.downlink_json);
  out->set_error_feedback(ToProto(item.error_feedback.weights));
  out->set_error_feedback_momentum(item.error_feedback.momentum);
  if (order.client_rate != 1.0) out->set_client_rate(order.client_rate);
  out->set_server_rate(order.server_rate.value_or(0));
  Put(item.liveness, out->mutable_liveness());
  out->set_task(order.task);
  out->set_tasks(order.tasks);
  out->set_lora_json(item.lora_json);
  out->set_adapter_rank(order.adapter_rank);
  out->set_sketches(item.sketches);
  if (item.collect.layout == nullptr) return;
  out->mutable_collect()->set_options_json(item.collect.options_json);
  PutLayout(*item.collect.layout, out->mutable_collect()->mutable_layout());
}

}  // namespace

void Put(absl::Duration duration, google::protobuf::Duration* out) {
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &duration);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
}

void Put(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

absl::Duration Get(const google::protobuf::Duration& duration) {
  return std::max(absl::ZeroDuration(),
                  absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos()));
}

void Put(const CheckInAnswer& answer, v1::CheckInResponse* out) {
  if (const auto* work = std::get_if<WorkItem>(&answer)) return PutWork(*work, out->mutable_work());
  PutWindow(std::get<RetryWindow>(answer), out->mutable_retry());
}

void Put(const UploadAnswer& answer, v1::UploadUpdateResponse* out) {
  using State = UploadAnswer::State;
  out->set_state(answer.state == State::kPartial    ? v1::UploadUpdateResponse::STATE_PARTIAL
                 : answer.state == State::kAccepted ? v1::UploadUpdateResponse::STATE_ACCEPTED
                 : answer.state == State::kRetry    ? v1::UploadUpdateResponse::STATE_RETRY
                                                    : v1::UploadUpdateResponse::STATE_REFUSED);
  if (answer.state == State::kRetry) PutWindow(answer.retry, out->mutable_retry());
  out->set_durable_bytes(answer.durable_bytes);
  out->set_refusal(ToProto(answer.refusal));
  out->set_message(answer.message);
}

void Put(const JobView& view, v1::Job* out) {
  const JobProgress& p = view.progress;
  out->set_job_id(view.record.id.value());
  out->set_name(view.name);
  out->set_state(ToProto(p.state));
  out->set_reason(p.reason);
  Put(view.record.submitted_at, out->mutable_submitted_at());
  if (view.record.ended_at) Put(*view.record.ended_at, out->mutable_ended_at());
  out->set_spec_json(view.record.spec_json);
  out->set_config_digest(view.config_digest.ToBytes());
  out->set_version(p.version);
  out->set_stop_versions(view.stop_versions);
  out->set_updates(p.updates);
  PutEvaluation(p.evaluation, out->mutable_evaluation());
  PutEvaluation(p.best, out->mutable_best());
  out->set_tasks(view.tasks);
  if (view.tasks > 0) {
    out->set_task(p.task);
    PutTasks(p, out);
  }
  out->set_phase(ToProto(p.phase));
  out->set_contributions(p.contributions);
  out->set_contributions_asked(p.contributions_asked);
  out->set_server_rate(p.server_rate);
  out->set_client_rate(p.client_rate);
  out->set_in_flight(p.in_flight);
  out->mutable_adapter_memory()->insert(p.adapter_memory.begin(), p.adapter_memory.end());
  out->set_clients_without_rank(p.clients_without_rank);
  v1::JobCounters& counters = *out->mutable_counters();
  counters.set_uplink_bytes(static_cast<uint64_t>(p.uplink_bytes));
  counters.set_downlink_bytes(view.downlink_bytes);
  counters.set_uplink_bytes_dense(view.uplink_bytes_dense);
  counters.set_client_steps(p.client_steps);
  for (const auto& [cause, count] : p.lost) (*counters.mutable_lost())[cause] = count;
  counters.set_late_updates(p.late_updates);
  for (const auto& [what, count] : view.put_off) (*counters.mutable_put_off())[what] = count;
  counters.set_disk_pauses(view.disk_pauses);
}

void Put(const ClientView& view, v1::Client* out) {
  const ClientRecord& r = view.record;
  out->set_client_id(r.id.value());
  Put(r.enrolled_at, out->mutable_enrolled_at());
  Put(r.last_seen_at, out->mutable_last_seen_at());
  out->set_evaluate_only(r.evaluate_only);
  out->set_user_agent(r.user_agent);
  out->set_state(view.state);
  out->set_updates(r.updates);
  out->set_lost(r.lost);
  out->set_uplink_bytes(r.uplink_bytes);
}

void Put(const VersionRecord& record, uint64_t bytes, v1::ModelVersion* out) {
  out->set_version(record.version);
  out->set_model_digest(record.model_digest.ToBytes());
  Put(record.published_at, out->mutable_published_at());
  out->set_updates(record.updates);
  if (record.evaluation) PutEvaluation(*record.evaluation, out->mutable_evaluation());
  out->set_kept(record.kept);
  out->set_bytes(bytes);
}

void Put(const JobId& job, const VersionRecord& record, const ParamLayout& layout,
         uint64_t total_bytes, v1::ModelHeader* out) {
  out->set_job_id(job.value());
  out->set_version(record.version);
  PutLayout(layout, out->mutable_layout());
  out->set_model_digest(record.model_digest.ToBytes());
  out->set_total_bytes(total_bytes);
}

absl::StatusOr<FileDigest> Get(const v1::FileDigest& name) {
  const auto sha256 = Digest::FromBytes(name.sha256());
  if (!sha256.ok()) return WithContext(sha256.status(), "file.sha256");
  return FileDigest{*sha256, name.bytes()};
}

absl::StatusOr<LayoutPtr> Get(const v1::ParamLayout& layout) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const v1::TensorSpec& spec : layout.tensors()) {
    tensors.push_back({.name = spec.name(),
                       .shape = {spec.shape().begin(), spec.shape().end()},
                       .kind = spec.buffer() ? TensorKind::kBuffer : TensorKind::kTrainable});
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr made, ParamLayout::Create(std::move(tensors)));
  if (made->digest().ToBytes() != layout.digest()) {
    return absl::InvalidArgumentError("layout: its digest is not that of its tensors");
  }
  return made;
}

absl::StatusOr<UploadHeader> Get(const v1::UpdateHeader& header) {
  TRIB_RETURN_IF_ERROR(CheckId("client_id", header.client_id()));
  TRIB_RETURN_IF_ERROR(CheckId("job_id", header.job_id()));
  UploadHeader out{.client = ClientId(header.client_id()),
                   .job = JobId(header.job_id()),
                   .info = {.work_order = header.work_order_id(),
                            .base_version = header.base_version(),
                            .num_examples = header.num_examples(),
                            .local_steps = header.local_steps(),
                            .learning_rate = header.learning_rate(),
                            .loss = header.loss(),
                            .accuracy = header.accuracy()},
                   .layout_digest = header.layout_digest(),
                   .layout = nullptr,
                   .total_bytes = header.total_bytes(),
                   .checksum = {.low = header.xxh128().low(), .high = header.xxh128().high()}};
  if (header.has_layout()) {
    TRIB_ASSIGN_OR_RETURN(out.layout, Get(header.layout()));
  }
  return out;
}

std::optional<HeldVersion> GetHeld(const v1::FetchModelRequest& request) {
  const auto digest = Digest::FromBytes(request.have_digest());
  if (!request.has_have_version() || !digest.ok()) return std::nullopt;
  return HeldVersion{request.have_version(), *digest};
}

std::optional<Xxh128> HeldMaskOf(const v1::FetchModelRequest& request) {
  if (!request.has_have_mask()) return std::nullopt;
  return Xxh128{request.have_mask().low(), request.have_mask().high()};
}

void Put(const Xxh128& checksum, v1::Xxh128* out) {
  out->set_low(checksum.low);
  out->set_high(checksum.high);
}

absl::Status CheckId(absl::string_view field, const std::string& value) {
  if (IsValidId(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": found '", absl::string_view(value).substr(0, 128),
                   "', allowed are 1 to 128 letters, digits, '.', '_' and '-'"));
}

}  // namespace tributary::wire
