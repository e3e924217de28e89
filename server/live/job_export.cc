#include "server/live/job_export.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/job_controller.h"
#include "server/coordinator/run_record.h"
#include "server/coordinator/run_summary.h"
#include "server/live/live_job.h"

namespace tributary {
namespace {

// Feeds a journal to a new controller and writes down what comes of it.
class Recorder {
 public:
  static absl::StatusOr<std::unique_ptr<Recorder>> Create(const JobRecord& record) {
    TRIB_ASSIGN_OR_RETURN(JobSpec spec, ParseJobSpecJson(record.spec_json));
    auto recorder = std::make_unique<Recorder>();
    TRIB_ASSIGN_OR_RETURN(recorder->controller_, JobController::Create(std::move(spec)));
    recorder->started_at_ = record.submitted_at;
    const JobSpec& job = recorder->controller_->spec();
    recorder->Write(FirstLine(job, record.submitted_at));
    recorder->controller_->Start(record.submitted_at, HasInitialModel(job));
    return recorder;
  }

  absl::Status Line(const std::string& text) {
    TRIB_ASSIGN_OR_RETURN(const JobEvent event, ParseJournalLine(text));
    absl::StrAppend(&events_, text, "\n");
    const auto* const published = std::get_if<event::VersionPublished>(&event.what);
    if (published != nullptr) {
      metrics_.push_back(VersionMetrics::Of(
          *published, absl::ToDoubleSeconds(event.at - started_at_), controller_->progress()));
    }
    const std::vector<JobAction> actions = controller_->Handle(event);
    if (published != nullptr) metrics_.back().AddCounts(controller_->progress());
    if (const auto* e = std::get_if<event::ClientAvailable>(&event.what); e && !e->evaluate_only) {
      clients_.insert(e->client);
    }
    if (std::holds_alternative<event::UpdateArrived>(event.what)) ++updates_;
    for (const JobAction& action : actions) {
      Write(ToJson(action, event.at));
      if (const auto* a = std::get_if<action::RecordEvaluation>(&action)) AddEvaluation(*a);
    }
    return absl::OkStatus();
  }

  JobExport Finish(absl::Time ended_at, const LayoutPtr& layout) && {
    const JobSpec& job = controller_->spec();
    const double seconds = absl::ToDoubleSeconds(ended_at - started_at_);
    nlohmann::json summary =
        SummaryJson({.name = job.name,
                     .seed = job.seed,
                     .config_digest = ConfigDigest(job).ToHex(),
                     .progress = controller_->progress(),
                     .wall_seconds = seconds,
                     .uplink_bytes_dense = layout ? 4 * layout->size() * updates_ : 0,
                     .clients = static_cast<int64_t>(clients_.size()),
                     .targets = {},
                     .scheduler = controller_->SchedulerStats()},
                    metrics_);
    for (const char* simulated : {"virtual_seconds", "peak_rss_bytes", "downlink_bytes",
                                  "train_flops", "train_flops_dense"}) {
      summary.erase(simulated);
    }
    summary.at("clients").erase("utilisation");
    return {.job = {},
            .version = controller_->progress().version,
            .events = std::move(events_),
            .metrics = MetricsCsv(metrics_),
            .summary = summary.dump(2) + "\n",
            .kept = {}};
  }

 private:
  void Write(const nlohmann::json& line) { absl::StrAppend(&events_, ToLine(line), "\n"); }

  void AddEvaluation(const action::RecordEvaluation& a) {
    if (a.version < 0 || static_cast<size_t>(a.version) >= metrics_.size()) return;
    metrics_[static_cast<size_t>(a.version)].AddEvaluation(a);
  }

  std::unique_ptr<JobController> controller_;
  absl::Time started_at_;
  std::string events_;
  std::vector<VersionMetrics> metrics_;  // of version i at i
  std::set<ClientId> clients_;           // that could have trained
  int64_t updates_ = 0;
};

}  // namespace

absl::StatusOr<JobExport> MakeExport(const JobRecord& record,
                                     const std::vector<std::string>& journal,
                                     const LayoutPtr& layout, absl::Time now) {
  TRIB_ASSIGN_OR_RETURN(const auto recorder, Recorder::Create(record));
  for (size_t i = 0; i < journal.size(); ++i) {
    const absl::Status status = recorder->Line(journal[i]);
    if (!status.ok()) return WithContext(status, JournalPlace(record.id, i));
  }
  JobExport made = std::move(*recorder).Finish(record.ended_at.value_or(now), layout);
  made.job = record.id;
  return made;
}

absl::StatusOr<std::vector<JobExport::KeptFile>> ListKept(const std::string& dir) {
  auto names = ListDirectory(dir);
  if (absl::IsNotFound(names.status())) return std::vector<JobExport::KeptFile>();
  TRIB_RETURN_IF_ERROR(names.status());
  std::vector<JobExport::KeptFile> files;
  for (const std::string& name : *names) {
    if (name != kFirstModelFile && !absl::EndsWith(name, ".update")) continue;
    files.push_back({name, absl::StrCat(dir, "/", name)});
  }
  return files;
}

}  // namespace tributary
