#include "client_sdk/internal/session.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

constexpr char kModels[] = "models";
constexpr char kPrograms[] = "programs";
constexpr char kResiduals[] = "residuals";
constexpr absl::Duration kKeepUnused = absl::Hours(30 * 24);

std::string StateFolder(const ClientOptions& options, absl::string_view name) {
  return options.state_dir.empty() ? "" : absl::StrCat(options.state_dir, "/", name);
}

// Of an answer to Enroll or CheckIn: no repetition will change it.
bool IsFinal(const absl::Status& status) {
  return IsNotAllowed(status) || absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
}

RetryOptions WithLimit(RetryOptions options, absl::Duration give_up_after) {
  options.give_up_after = give_up_after;
  return options;
}

}  // namespace

Session::Session(const ClientOptions& options, Trainer* trainer, Connection* connection,
                 Clock* clock, std::stop_token stop)
    : options_(options),
      trainer_(trainer),
      connection_(connection),
      clock_(clock),
      stop_(std::move(stop)),
      // Differs between clients and runs: it only spreads their calls over time.
      rng_(Rng(static_cast<uint64_t>(absl::ToUnixNanos(clock->Now()))).Split(options.id.value())),
      cache_(options.cached_models, StateFolder(options, kModels)),
      programs_(StateFolder(options, kPrograms)),
      residuals_(StateFolder(options, kResiduals), options.id),
      outbox_(StateFolder(options, "outbox"), options.id),
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
  RemoveOldState();
  for (idle_since_ = clock_->Now(); !stop_.stop_requested();) {
    const absl::Duration left = idle_limit - (clock_->Now() - idle_since_);
    if (left <= absl::ZeroDuration()) return NoWork(idle_limit);
    if (outbox_.update() != nullptr) {
      const absl::StatusOr<bool> counted = SettleOutbox();
      if (counted.ok()) idle_since_ = clock_->Now();
      if (once_ && counted.ok() && *counted) return absl::OkStatus();
      if (!counted.ok()) TRIB_RETURN_IF_ERROR(Reconnect(counted.status()));
      continue;
    }
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

// Of jobs that this client has not worked for in a long time.
void Session::RemoveOldState() const {
  if (options_.state_dir.empty()) return;
  for (const char* folder : {kModels, kPrograms, kResiduals}) {
    const absl::Status removed =
        RemoveFilesOlderThan(StateFolder(options_, folder), clock_->Now() - kKeepUnused);
    if (!removed.ok()) log::Warning("old state not removed", {{"error", removed}});
  }
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

absl::Status Session::EnrollIfNeeded() {
  if (enrolled_) return absl::OkStatus();
  TRIB_ASSIGN_OR_RETURN(limits_, connection_->Enroll(stop_));
  if (limits_.max_chunk_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the server takes chunks of at most ", limits_.max_chunk_bytes, " bytes"));
  }
  enrolled_ = true;
  ever_enrolled_ = true;
  Emit(ClientEvent::Kind::kEnrolled, nullptr, limits_.server_agent);
  return absl::OkStatus();
}

absl::StatusOr<CheckInAnswer> Session::AskForWork(absl::Duration max_wait) {
  TRIB_RETURN_IF_ERROR(EnrollIfNeeded());
  TRIB_ASSIGN_OR_RETURN(CheckInAnswer answer,
                        connection_->CheckIn(std::min(max_wait, limits_.max_wait), task_, stop_));
  reconnect_.Succeeded();
  return answer;
}

absl::StatusOr<bool> Session::Perform(WorkOrder order) {
  Emit(ClientEvent::Kind::kWorkReceived, &order);
  std::stop_source work_stop;
  const std::stop_callback link(stop_, [&work_stop] { work_stop.request_stop(); });
  absl::Status done;
  {
    Heartbeat heartbeat(connection_, order, &work_stop);
    Work work{.order = order, .stop = work_stop.get_token(), .heartbeat = &heartbeat};
    done = BringProgram(work, order.job);
    if (done.ok()) done = Do(work);
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
  const bool diverged = work.reason == AbandonReason::kTrainerFailed && absl::IsOutOfRange(failure);
  notice.reason = stop_.stop_requested() ? AbandonReason::kStopped
                  : diverged             ? AbandonReason::kDiverged
                                         : work.reason;
  notice.message = failure.ToString();
  // If it does not arrive, the server learns it from the silence.
  connection_->AbandonWork(notice).IgnoreError();
  return failure;
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
