#include "server/operator/messages.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/strip.h"

namespace tributary::op {
namespace {

nlohmann::json TimeJson(bool present, const google::protobuf::Timestamp& timestamp) {
  return present ? nlohmann::json(FormatTime(timestamp)) : nlohmann::json();
}

nlohmann::json SpecJson(const std::string& text) {
  nlohmann::json spec = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return spec.is_discarded() ? nlohmann::json(text) : spec;
}

nlohmann::json EvaluationJson(bool present, const v1::Evaluation& evaluation) {
  return present && evaluation.version() >= 0 ? ToJson(evaluation) : nlohmann::json();
}

}  // namespace

nlohmann::json ToJson(const v1::Evaluation& evaluation) {
  return {{"version", evaluation.version()},
          {"loss", evaluation.loss()},
          {"accuracy", evaluation.accuracy()},
          {"num_examples", evaluation.num_examples()}};
}

nlohmann::json ToJson(const v1::Job& job) {
  const v1::JobCounters& counters = job.counters();
  nlohmann::json lost = nlohmann::json::object();
  for (const auto& [cause, count] : counters.lost()) lost[cause] = count;
  nlohmann::json put_off = nlohmann::json::object();
  for (const auto& [what, count] : counters.put_off()) put_off[what] = count;
  nlohmann::json task_accuracies = nlohmann::json::array();
  for (const v1::TaskAccuracies& row : job.task_accuracies()) {
    task_accuracies.push_back(std::vector<double>(row.accuracy().begin(), row.accuracy().end()));
  }
  nlohmann::json adapter_memory = nlohmann::json::object();
  for (const auto& [rank, bytes] : job.adapter_memory()) {
    adapter_memory[absl::StrCat(rank)] = bytes;
  }
  return {
      {"job_id", job.job_id()},
      {"name", job.name()},
      {"state", StateName(job.state())},
      {"reason", job.reason()},
      {"submitted_at", TimeJson(job.has_submitted_at(), job.submitted_at())},
      {"ended_at", TimeJson(job.has_ended_at(), job.ended_at())},
      {"spec", SpecJson(job.spec_json())},
      {"config_digest", absl::BytesToHexString(job.config_digest())},
      {"version", job.version()},
      {"stop_versions", job.stop_versions()},
      {"task", job.task()},
      {"tasks", job.tasks()},
      {"phase", PhaseName(job.phase())},
      {"contributions", job.contributions()},
      {"contributions_asked", job.contributions_asked()},
      {"task_accuracies", std::move(task_accuracies)},
      {"average_accuracy",
       job.has_average_accuracy() ? nlohmann::json(job.average_accuracy()) : nlohmann::json()},
      {"forgetting", job.has_forgetting() ? nlohmann::json(job.forgetting()) : nlohmann::json()},
      {"server_rate", job.server_rate()},
      {"client_rate", job.client_rate()},
      {"updates", job.updates()},
      {"in_flight", job.in_flight()},
      {"adapter_memory", std::move(adapter_memory)},
      {"clients_without_rank", job.clients_without_rank()},
      {"evaluation", EvaluationJson(job.has_evaluation(), job.evaluation())},
      {"best", EvaluationJson(job.has_best(), job.best())},
      {"counters",
       {{"uplink_bytes", counters.uplink_bytes()},
        {"downlink_bytes", counters.downlink_bytes()},
        {"uplink_bytes_dense", counters.uplink_bytes_dense()},
        {"client_steps", counters.client_steps()},
        {"lost", std::move(lost)},
        {"late_updates", counters.late_updates()},
        {"put_off", std::move(put_off)},
        {"disk_pauses", counters.disk_pauses()}}}};
}

nlohmann::json ToJson(const v1::ModelVersion& version) {
  return {{"version", version.version()},
          {"model_digest", absl::BytesToHexString(version.model_digest())},
          {"published_at", TimeJson(version.has_published_at(), version.published_at())},
          {"updates", version.updates()},
          {"evaluation", EvaluationJson(version.has_evaluation(), version.evaluation())},
          {"kept", version.kept()},
          {"bytes", version.bytes()}};
}

nlohmann::json ToJson(const v1::Client& client) {
  return {{"client_id", client.client_id()},
          {"enrolled_at", TimeJson(client.has_enrolled_at(), client.enrolled_at())},
          {"last_seen_at", TimeJson(client.has_last_seen_at(), client.last_seen_at())},
          {"evaluate_only", client.evaluate_only()},
          {"user_agent", client.user_agent()},
          {"state", client.state()},
          {"updates", client.updates()},
          {"lost", client.lost()},
          {"uplink_bytes", client.uplink_bytes()}};
}

std::string StateName(v1::JobState state) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::JobState_Name(state), "JOB_STATE_"));
}

std::string PhaseName(v1::JobPhase phase) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::JobPhase_Name(phase), "JOB_PHASE_"));
}

bool IsEnded(v1::JobState state) {
  return state == v1::JOB_STATE_DONE || state == v1::JOB_STATE_CANCELLED ||
         state == v1::JOB_STATE_FAILED;
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string FormatTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", ToTime(timestamp), absl::UTCTimeZone());
}

int64_t LostUpdates(const v1::JobCounters& counters) {
  int64_t lost = 0;
  for (const auto& [cause, count] : counters.lost()) lost += count;
  return lost;
}

}  // namespace tributary::op
