// Jobs: submission, commands, views, exports.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "server/live/live_host.h"

namespace tributary {
namespace {

// That the submission says which files the job names, and no others.
absl::Status CheckNames(const Submission& submission) {
  const ModelSpec& model = submission.spec.model;
  if (model.initial.has_value() != submission.initial.has_value()) {
    return absl::InvalidArgumentError(
        model.initial
            ? absl::StrCat("job.model.initial: '", *model.initial, "' did not come with the job")
            : "an initial model came with a job that names none in job.model.initial");
  }
  if (model.torchscript) {
    return absl::InvalidArgumentError(
        "job.model.torchscript: found in a submitted job; allowed: job.model.program, with the "
        "SHA-256 and the size of a file that was put");
  }
  return absl::OkStatus();
}

// The program is there, and the first model is `initial_path` from now on.
absl::Status TakeFiles(JobFiles& files, const Submission& submission,
                       const std::string& initial_path) {
  const auto missing = [](absl::string_view field, const absl::Status& why) {
    if (!absl::IsDataLoss(why)) return why;
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": its file was not put before the job: ", why.message()));
  };
  if (const auto& program = submission.spec.model.program) {
    const auto file = files.OpenForReading(FileDigestOf(*program));
    if (!file.ok()) return missing("job.model.program", file.status());
  }
  // Also of a first model that a client will make.
  TRIB_RETURN_IF_ERROR(CreateDirectory(initial_path.substr(0, initial_path.rfind('/'))));
  if (!submission.initial) return absl::OkStatus();
  const absl::Status moved = files.MoveTo(*submission.initial, initial_path);
  if (!moved.ok()) return missing("job.model.initial", moved);
  const absl::Status readable = SafetensorsFile::Open(initial_path).status();
  if (readable.ok()) return absl::OkStatus();
  RemoveFile(initial_path).IgnoreError();
  return absl::InvalidArgumentError(absl::StrCat(
      "job.model.initial: '", *submission.spec.model.initial, "': ", readable.message()));
}

}  // namespace

LiveJob* LiveHost::FindJob(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : it->second.get();
}

absl::StatusOr<LiveJob*> LiveHost::RequireJob(const JobId& job) const {
  if (LiveJob* const found = FindJob(job)) return found;
  return absl::NotFoundError(absl::StrCat("no job is called '", job.value(), "'"));
}

// ---- submission ------------------------------------------------------------------------

// The job's name and a number: readable, and the same on every machine.
JobId LiveHost::NewJobId(const std::string& name) const {
  const std::string stem = name.substr(0, 100);
  for (int n = 1;; ++n) {
    JobId id(absl::StrCat(stem, "-", n));
    if (!jobs_.contains(id) && !submitting_.contains(id)) return id;
  }
}

void LiveHost::PutFile(FilePiece piece, Callback<uint64_t> done) {
  if (draining_) return done(absl::UnavailableError("the server is shutting down"));
  deps_.pool->Run(
      [files = files_.get(), piece = std::move(piece), done = std::move(done)]() mutable {
        done(files->Put(piece.file, piece.offset, piece.data));
      });
}

void LiveHost::SubmitJob(Submission submission, Callback<JobId> done) {
  if (draining_) return done(absl::UnavailableError("the server is shutting down"));
  if (const auto it = submissions_.find(submission.request_id); it != submissions_.end()) {
    // Behind the writes of the first call, if they are still under way.
    const JobId id = it->second;
    return disk_.Run([this, id, loop = deps_.loop, done = std::move(done)]() mutable {
      loop->Post([this, id, done = std::move(done)]() mutable {
        if (!jobs_.contains(id)) return done(absl::UnavailableError("the submission failed"));
        done(id);
      });
    });
  }
  if (const absl::Status came = CheckNames(submission); !came.ok()) return done(came);
  auto controller = JobController::Create(submission.spec);
  if (!controller.ok()) return done(controller.status());
  auto job = std::make_unique<LiveJob>();
  job->controller = *std::move(controller);
  job->record = {.id = NewJobId(submission.spec.name),
                 .request_id = submission.request_id,
                 .spec_json = CanonicalJson(submission.spec),
                 .state = std::string(JobStateName(JobState::kInitialising)),
                 .reason = "",
                 .submitted_at = deps_.clock->Now(),
                 .ended_at = std::nullopt};
  if (const absl::Status made = MakeExecutor(*job); !made.ok()) return done(made);
  submitting_.insert(job->id());
  if (!submission.request_id.empty()) submissions_[submission.request_id] = job->id();
  const std::string path = job->InitialPath(options_.data_dir);
  disk_.Run([this, job = std::move(job), submission = std::move(submission), path,
             store = deps_.store, loop = deps_.loop, done = std::move(done)]() mutable {
    absl::Status written = TakeFiles(*files_, submission, path);
    if (written.ok()) written = store->PutJob(job->record);
    loop->Post([this, job = std::move(job), written, done = std::move(done)]() mutable {
      Submitted(std::move(job), written, std::move(done));
    });
  });
}

void LiveHost::Submitted(std::unique_ptr<LiveJob> owned, const absl::Status& written,
                         Callback<JobId> done) {
  submitting_.erase(owned->id());
  if (!written.ok()) {
    submissions_.erase(owned->record.request_id);
    return done(written);
  }
  LiveJob& job = *owned;
  jobs_[job.id()] = std::move(owned);
  job.FillSections();
  log::Info("job submitted", {{"job", job.id().value()}});
  const bool has_initial_model = HasInitialModel(job.controller->spec());
  for (const JobAction& action :
       job.controller->Start(job.record.submitted_at, has_initial_model)) {
    Perform(job, action);
  }
  AnnounceAll();
  done(job.id());
}

absl::Status LiveHost::MakeExecutor(LiveJob& job) const {
  TRIB_ASSIGN_OR_RETURN(job.error_feedback, ErrorFeedbackOf(job.controller->spec()));
  TRIB_ASSIGN_OR_RETURN(job.executor, JobExecutor::Create(job.controller->spec(), job.record.id,
                                                          deps_.store, deps_.parallel));
  return absl::OkStatus();
}

// ---- operators -------------------------------------------------------------------------

JobView LiveHost::View(const LiveJob& job) const {
  JobView view{
      .record = job.record,
      .name = "",
      .config_digest = Sha256::Of(job.record.spec_json),
      .stop_versions = 0,
      .tasks = 0,
      .progress = {},
      .model_bytes = job.layout ? static_cast<uint64_t>(job.layout->size()) * sizeof(float) : 0,
      .uplink_bytes_dense = job.uplink_bytes_dense,
      .downlink_bytes = job.downlink_bytes,
      .put_off = job.put_off,
      .disk_pauses = job.disk_pauses};
  if (job.controller == nullptr) {  // its journal could not be read
    view.name = job.id().value();
    view.progress.state = JobState::kFailed;
    view.progress.reason = job.record.reason;
    return view;
  }
  view.name = job.controller->spec().name;
  view.stop_versions = job.controller->spec().stop.versions.value_or(0);
  if (const auto& continual = job.controller->spec().continual) view.tasks = continual->tasks;
  view.progress = job.controller->progress();
  for (const auto& [cause, count] : job.refused) view.progress.lost[cause] += count;
  if (disk_alarm_.on() && !job.ended()) {
    view.progress.state = JobState::kPaused;
    view.progress.reason = disk_alarm_.reason();
  }
  return view;
}

std::vector<JobView> LiveHost::ListJobs() const {
  std::vector<JobView> all;
  for (const auto& [id, job] : jobs_) all.push_back(View(*job));
  std::stable_sort(all.begin(), all.end(), [](const JobView& a, const JobView& b) {
    return a.record.submitted_at > b.record.submitted_at;
  });
  return all;
}

absl::StatusOr<JobView> LiveHost::GetJob(const JobId& id) const {
  TRIB_ASSIGN_OR_RETURN(const LiveJob* job, RequireJob(id));
  return View(*job);
}

absl::StatusOr<int64_t> LiveHost::Watch(const JobId& id, absl::AnyInvocable<void()> changed) {
  TRIB_ASSIGN_OR_RETURN(LiveJob * job, RequireJob(id));
  job->watchers[next_watcher_] = std::move(changed);
  return next_watcher_++;
}

void LiveHost::Unwatch(const JobId& id, int64_t watcher) {
  if (LiveJob* const job = FindJob(id)) job->watchers.erase(watcher);
}

void LiveHost::Changed(LiveJob& job) {
  if (std::exchange(job.changed, true)) return;
  journal_.AfterCommit([&job] {
    job.changed = false;
    for (auto& [id, watcher] : job.watchers) watcher();
  });
}

void LiveHost::Command(const JobId& id, event::Command::Verb verb, Callback<JobView> done) {
  const auto job = RequireJob(id);
  if (!job.ok()) return done(job.status());
  if ((*job)->ended()) {
    if (verb == event::Command::Verb::kCancel && (*job)->record.state == "cancelled") {
      return done(View(**job));
    }
    return done(absl::FailedPreconditionError(
        absl::StrCat("job '", id.value(), "' has ended: it is ", (*job)->record.state)));
  }
  if (verb == event::Command::Verb::kNextTask && !(*job)->controller->spec().continual) {
    return done(absl::FailedPreconditionError(
        absl::StrCat("job '", id.value(), "' has no `continual` tasks")));
  }
  Feed(**job, event::Command{verb});
  if (verb == event::Command::Verb::kResume) AnnounceAll();
  journal_.AfterCommit(
      [this, found = *job, done = std::move(done)]() mutable { done(View(*found)); });
}

void LiveHost::ExportJob(const JobId& id, Callback<JobExport> done) {
  const auto job = RequireJob(id);
  if (!job.ok()) return done(job.status());
  // On the disk lane, and only the journal until now: what came before this effect is done, so
  // every update that these lines call combined is where it is kept.
  journal_.AfterCommit([this, lines = (*job)->journal_lines, record = (*job)->record,
                        layout = (*job)->layout, kept_dir = (*job)->KeptDir(options_.data_dir),
                        done = std::move(done)]() mutable {
    disk_.Run([lines, record = std::move(record), layout = std::move(layout),
               kept_dir = std::move(kept_dir), deps = deps_, done = std::move(done)]() mutable {
      auto journal = deps.store->ReadJournal(record.id);
      if (!journal.ok()) return done(journal.status());
      journal->resize(std::min(journal->size(), lines));
      auto kept = ListKept(kept_dir);
      if (!kept.ok()) return done(kept.status());
      deps.pool->Run([record = std::move(record), layout = std::move(layout),
                      journal = *std::move(journal), kept = *std::move(kept), clock = deps.clock,
                      done = std::move(done)]() mutable {
        auto made = MakeExport(record, journal, layout, clock->Now());
        if (made.ok()) made->kept = std::move(kept);
        done(std::move(made));
      });
    });
  });
}

}  // namespace tributary
