#include "simulator/replay.h"

#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_controller.h"
#include "server/coordinator/job_executor.h"
#include "server/coordinator/job_spec.h"
#include "server/coordinator/run_record.h"
#include "server/store/memory_store.h"

namespace tributary {
namespace {

using Json = nlohmann::json;

// The folder that keep_updates left.
class KeptUpdates final : public UpdateSource {
 public:
  explicit KeptUpdates(std::string dir) : dir_(std::move(dir)) {}

  std::string FirstModelPath() const { return absl::StrCat(dir_, "/", kFirstModelFile); }
  void Expect(const event::UpdateArrived& update) { arrived_[update.info.work_order] = update; }

  absl::StatusOr<PayloadBytes> Payload(WorkOrderId work_order) override {
    const std::string path = absl::StrCat(dir_, "/", UpdateFile(work_order));
    const auto refused = [&](absl::StatusCode code, absl::string_view why) {
      return absl::Status(code, absl::StrCat("work order ", work_order, ": ", path, " ", why));
    };
    std::ifstream file(path, std::ios::binary);
    if (!file) return refused(absl::StatusCode::kNotFound, "cannot be read");
    std::string payload{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const event::UpdateArrived& update = arrived_[work_order];
    if (static_cast<int64_t>(payload.size()) != update.bytes) {
      return refused(absl::StatusCode::kDataLoss, absl::StrCat("has ", payload.size(), " bytes; ",
                                                               update.bytes, " had arrived"));
    }
    Xxh3Stream checksum;
    checksum.Update(payload);
    if (update.checksum && checksum.Value() != *update.checksum) {
      return refused(absl::StatusCode::kDataLoss,
                     absl::StrCat("has the XXH3-128 ", checksum.Value().ToHex(),
                                  "; what arrived had ", update.checksum->ToHex()));
    }
    return payload;
  }

 private:
  const std::string dir_;
  std::map<WorkOrderId, event::UpdateArrived> arrived_;
};

// Makes the versions of a run again.
class Modeller {
 public:
  static absl::StatusOr<std::unique_ptr<Modeller>> Create(const JobSpec& job, std::string dir) {
    auto modeller = std::unique_ptr<Modeller>(new Modeller(std::move(dir)));
    const JobId id("replay");
    TRIB_ASSIGN_OR_RETURN(modeller->store_, MemoryStore::Create({}));
    TRIB_RETURN_IF_ERROR(modeller->store_->PutJob({.id = id, .spec_json = CanonicalJson(job)}));
    TRIB_ASSIGN_OR_RETURN(modeller->executor_,
                          JobExecutor::Create(job, id, modeller->store_.get()));
    return modeller;
  }

  void Follow(const JobEvent& event) {
    if (const auto* update = std::get_if<event::UpdateArrived>(&event.what)) {
      updates_.Expect(*update);
    }
  }
  void Follow(const std::vector<JobAction>& actions) {
    for (const JobAction& action : actions) {
      if (const auto* p = std::get_if<action::PublishVersion>(&action)) publication_ = *p;
    }
  }

  absl::Status Check(const event::VersionPublished& recorded, absl::Time at) {
    TRIB_ASSIGN_OR_RETURN(const event::VersionPublished made, Make(recorded.version, at));
    TRIB_RETURN_IF_ERROR(executor_->Prune());
    if (made.model_digest == recorded.model_digest) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(
        "version ", recorded.version, ": the recorded model_digest is ",
        recorded.model_digest.ToHex(), ", that of the model made now ", made.model_digest.ToHex()));
  }

 private:
  explicit Modeller(std::string dir) : updates_(std::move(dir)) {}

  absl::StatusOr<event::VersionPublished> Make(Version version, absl::Time at) {
    if (version > 0) return executor_->Publish(publication_, updates_, at);
    TRIB_ASSIGN_OR_RETURN(const ParamVector model, ReadSafetensors(updates_.FirstModelPath()));
    return executor_->Install(model, at);
  }

  KeptUpdates updates_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<JobExecutor> executor_;
  action::PublishVersion publication_;  // the newest that was asked for
};

class Player {
 public:
  // `updates` may be empty.
  explicit Player(std::string updates) : updates_(std::move(updates)) {}

  absl::Status Line(const std::string& text) {
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) return absl::InvalidArgumentError("not a JSON object");
    if (controller_ == nullptr) return Begin(line);
    return line.contains("action") ? Compare(line) : Feed(line);
  }

  absl::Status AtEnd() const {
    if (controller_ == nullptr) return absl::InvalidArgumentError("the file is empty");
    return NoneLeft();
  }

  ReplayResult result() const { return result_; }

 private:
  absl::Status Begin(const Json& line) {
    if (!line.contains("job")) {
      return absl::InvalidArgumentError("the first line has no 'job': this is not an events.jsonl");
    }
    const Json initial_model = line.value("initial_model", Json(false));
    const Json started_at = line.value("started_at", Json(0));
    if (!initial_model.is_boolean() || !started_at.is_number_integer()) {
      return absl::InvalidArgumentError(
          absl::StrCat("initial_model and started_at: found ", initial_model.dump(), " and ",
                       started_at.dump(), "; must be true or false, and an integer"));
    }
    TRIB_ASSIGN_OR_RETURN(JobSpec spec, ParseJobSpecJson(line.at("job").dump()));
    if (!updates_.empty()) {
      TRIB_ASSIGN_OR_RETURN(modeller_, Modeller::Create(spec, updates_));
    }
    TRIB_ASSIGN_OR_RETURN(controller_, JobController::Create(std::move(spec)));
    // What Start asks for is not recorded: the file's first line says it.
    controller_->Start(absl::FromUnixNanos(started_at), initial_model);
    return absl::OkStatus();
  }

  absl::Status Feed(const Json& line) {
    TRIB_RETURN_IF_ERROR(NoneLeft());
    TRIB_ASSIGN_OR_RETURN(const JobEvent event, JobEventFromJson(line));
    ++result_.events;
    const std::vector<JobAction> actions = controller_->Handle(event);
    const std::string digest = digest_.Add(event, actions);
    if (const Json recorded = line.value("digest", Json(digest)); recorded != digest) {
      return absl::DataLossError(
          absl::StrCat("digest: recorded ", recorded.dump(), ", now \"", digest,
                       "\": this event, or what was decided on it, is not what was recorded"));
    }
    for (const JobAction& action : actions) expected_.push_back(ToJson(action, event.at));
    const auto* published = std::get_if<event::VersionPublished>(&event.what);
    if (published != nullptr) ++result_.versions;
    if (modeller_ == nullptr) return absl::OkStatus();
    if (published != nullptr) {
      TRIB_RETURN_IF_ERROR(modeller_->Check(*published, event.at));
      result_.model_digest = published->model_digest;
    }
    modeller_->Follow(event);
    modeller_->Follow(actions);
    return absl::OkStatus();
  }

  absl::Status Compare(const Json& line) {
    ++result_.actions;
    if (expected_.empty()) {
      return absl::DataLossError(absl::StrCat("recorded, but not decided now: ", line.dump()));
    }
    const Json mine = std::move(expected_.front());
    expected_.pop_front();
    if (mine == line) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("recorded ", line.dump(), ", decided now ", mine.dump()));
  }

  absl::Status NoneLeft() const {
    if (expected_.empty()) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("decided now, but not recorded: ", expected_.front().dump()));
  }

  const std::string updates_;
  std::unique_ptr<JobController> controller_;
  std::unique_ptr<Modeller> modeller_;  // null without updates
  RunDigest digest_;
  std::deque<Json> expected_;
  ReplayResult result_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(const std::string& path, const std::string& updates) {
  std::string events = path, kept = updates;
  if (std::error_code error; std::filesystem::is_directory(path, error)) {
    events = absl::StrCat(path, "/events.jsonl");
    const std::string beside = absl::StrCat(path, "/updates");
    if (kept.empty() && std::filesystem::is_directory(beside, error)) kept = beside;
  }
  std::ifstream file(events);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", events));
  Player player(kept);
  std::string text;
  for (int64_t number = 1; std::getline(file, text); ++number) {
    const absl::Status status = player.Line(text);
    if (!status.ok()) return WithContext(status, absl::StrCat(events, ":", number));
  }
  TRIB_RETURN_IF_ERROR(WithContext(player.AtEnd(), events));
  return player.result();
}

}  // namespace tributary
