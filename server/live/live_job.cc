#include "server/live/live_job.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

// Follows the events and actions of a replay.
class Follower {
 public:
  explicit Follower(Replayed& to) : to_(to) {}

  void Follow(const JobEvent& event) {
    to_.last_event = std::max(to_.last_event, event.at);
    std::visit([this](const auto& e) { On(e); }, event.what);
  }
  void Follow(const std::vector<JobAction>& actions) {
    for (const JobAction& action : actions) {
      std::visit([this](const auto& a) { On(a); }, action);
    }
  }

 private:
  void On(const event::ClientAvailable& e) { to_.presence[e.client] = true; }
  void On(const event::ClientGone& e) { to_.presence.erase(e.client); }
  void On(const event::ModelMade& e) { Answered(e.work_order); }
  void On(const event::UpdateArrived& e) {
    const auto it = to_.orders.find(e.info.work_order);
    if (it == to_.orders.end()) return;
    to_.unused_updates[it->first] = it->second.client;
    ++to_.updates;
    Answered(it->first);
  }
  void On(const event::EvaluationArrived& e) { Answered(e.work_order); }
  void On(const event::WorkFailed& e) { to_.orders.erase(e.work_order); }
  void On(const event::TimerFired&) {}
  void On(const event::VersionPublished&) {
    if (const auto* p = std::get_if<action::PublishVersion>(&to_.publication)) {
      for (const auto& part : p->parts) to_.unused_updates.erase(part.info.work_order);
    }
    to_.publication = std::monostate();
  }
  void On(const event::PublishFailed&) { to_.publication = std::monostate(); }
  void On(const event::Command&) {}

  void On(const action::SendWork& a) {
    to_.orders[a.order.id] = a.order;
    if (const auto it = to_.presence.find(a.order.client); it != to_.presence.end()) {
      it->second = false;
    }
  }
  void On(const action::RecallWork& a) { to_.orders.erase(a.work_order); }
  void On(const action::InstallModel& a) { to_.publication = a; }
  void On(const action::PublishVersion& a) { to_.publication = a; }
  void On(const action::DropUpdate& a) { to_.unused_updates.erase(a.work_order); }
  void On(const action::WakeAt& a) { to_.wake_at = a.at; }
  void On(const action::RecordEvaluation& a) {
    to_.evaluations[a.version] = {a.version, a.loss, a.accuracy, a.num_examples};
  }
  void On(const action::SetState&) {}

  void Answered(WorkOrderId id) {
    const auto it = to_.orders.find(id);
    if (it == to_.orders.end()) return;
    to_.answered[id] = it->second.client;
    to_.orders.erase(it);
  }

  Replayed& to_;
};

std::string Section(const nlohmann::json& spec, const char* name) {
  return spec.contains(name) ? spec.at(name).dump() : "null";
}

}  // namespace

void LiveJob::FillSections() {
  const auto spec = nlohmann::json::parse(record.spec_json, nullptr, false);
  if (!spec.is_object()) return;
  model_json = Section(spec, "model");
  if (const auto job = ParseJobSpecJson(record.spec_json); job.ok()) {
    train_json = config::Print(TrainOf(*job)).dump();
    if (const auto terms = LoraTermsOf(*job)) lora_json = config::Print(*terms).dump();
    sketches = job->Collects(CollectKind::kSketch).has_value();
  }
  codec_json = Section(spec, "codec");
  if (spec.contains("downlink")) downlink_json = Section(spec, "downlink");
}

FileDigest FileDigestOf(const ProgramSpec& program) {
  return {*Digest::FromHex(program.sha256), static_cast<uint64_t>(program.bytes)};
}

bool HasInitialModel(const JobSpec& spec) { return spec.model.initial.has_value(); }

absl::StatusOr<JobEvent> ParseJournalLine(const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (json.is_discarded()) return absl::DataLossError("not JSON");
  auto event = JobEventFromJson(json);
  if (!event.ok()) return absl::DataLossError(event.status().message());
  return event;
}

std::string JournalPlace(const JobId& job, size_t line) {
  return absl::StrCat("journal of job ", job.value(), ", line ", line + 1);
}

absl::StatusOr<Replayed> Replay(const JobRecord& record, const std::vector<std::string>& journal) {
  TRIB_ASSIGN_OR_RETURN(JobSpec spec, ParseJobSpecJson(record.spec_json));
  const bool has_initial_model = HasInitialModel(spec);
  Replayed replayed;
  TRIB_ASSIGN_OR_RETURN(replayed.controller, JobController::Create(std::move(spec)));
  Follower follower(replayed);
  follower.Follow(replayed.controller->Start(record.submitted_at, has_initial_model));
  for (size_t i = 0; i < journal.size(); ++i) {
    const auto event = ParseJournalLine(journal[i]);
    if (!event.ok()) return WithContext(event.status(), JournalPlace(record.id, i));
    const std::vector<JobAction> actions = replayed.controller->Handle(*event);
    replayed.digest.Add(*event, actions);
    follower.Follow(*event);
    follower.Follow(actions);
  }
  return replayed;
}

void LiveJob::SetMask(std::shared_ptr<const Mask> newest) {
  if (newest == mask) return;
  mask = std::move(newest);
  sent_mask = nullptr;
  if (mask == nullptr) return;
  std::string bytes = PackMask(*mask);
  const Xxh128 checksum = Xxh128Of(bytes);
  sent_mask = std::make_shared<const SentMask>(SentMask{std::move(bytes), checksum});
}

}  // namespace tributary
