#include "simulator/replay.h"

#include <deque>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_controller.h"
#include "server/coordinator/job_spec.h"

namespace tributary {
namespace {

using Json = nlohmann::json;

class Player {
 public:
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
    TRIB_ASSIGN_OR_RETURN(JobSpec spec, ParseJobSpecJson(line.at("job").dump()));
    TRIB_ASSIGN_OR_RETURN(controller_, JobController::Create(std::move(spec)));
    // What Start asks for is not recorded: the file's first line says it.
    controller_->Start(absl::UnixEpoch(), line.value("initial_model", false));
    return absl::OkStatus();
  }

  absl::Status Feed(const Json& line) {
    TRIB_RETURN_IF_ERROR(NoneLeft());
    TRIB_ASSIGN_OR_RETURN(const JobEvent event, JobEventFromJson(line));
    ++result_.events;
    if (std::holds_alternative<event::VersionPublished>(event.what)) ++result_.versions;
    for (const JobAction& action : controller_->Handle(event)) {
      expected_.push_back(ToJson(action, event.at));
    }
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

  std::unique_ptr<JobController> controller_;
  std::deque<Json> expected_;
  ReplayResult result_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  Player player;
  std::string text;
  for (int64_t number = 1; std::getline(file, text); ++number) {
    TRIB_RETURN_IF_ERROR(WithContext(player.Line(text), absl::StrCat(path, ":", number)));
  }
  TRIB_RETURN_IF_ERROR(WithContext(player.AtEnd(), path));
  return player.result();
}

}  // namespace tributary
