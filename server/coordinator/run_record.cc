#include "server/coordinator/run_record.h"

#include "absl/strings/str_cat.h"

namespace tributary {

std::string UpdateFile(WorkOrderId work_order) { return absl::StrCat(work_order, ".update"); }

std::string ToLine(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json FirstLine(const JobSpec& job, absl::Time started_at) {
  return {{"job", nlohmann::json::parse(CanonicalJson(job))},
          {"initial_model", job.model.initial.has_value()},
          {"started_at", absl::ToUnixNanos(started_at)}};
}

std::string RunDigest::Add(const JobEvent& event, const std::vector<JobAction>& actions) {
  hash_.Update(absl::StrCat(ToLine(ToJson(event)), "\n"));
  for (const JobAction& action : actions) {
    hash_.Update(absl::StrCat(ToLine(ToJson(action, event.at)), "\n"));
  }
  return absl::StrCat(absl::Hex(hash_.Value().low, absl::kZeroPad16));
}

}  // namespace tributary
