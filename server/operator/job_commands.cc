#include "server/operator/job_commands.h"

#include <filesystem>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/cli/format.h"
#include "common/cli/progress_line.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "server/coordinator/job_file.h"
#include "server/coordinator/job_spec.h"
#include "server/operator/file_upload.h"
#include "server/operator/messages.h"

namespace tributary::op {
namespace {

using cli::FormatBytes;
using cli::FormatPercent;
using cli::FormatTable;

// A job as it is sent, and where the files are that go before it; empty: there is none.
struct Prepared {
  v1::JobEnvelope envelope;
  std::string initial;
  std::string program;
};

absl::StatusOr<Prepared> Prepare(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(JobSpec spec, ReadJobFile(path));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  Prepared prepared;
  if (spec.model.initial) prepared.initial = folder / *spec.model.initial;
  if (spec.model.torchscript) prepared.program = folder / *spec.model.torchscript;
  TRIB_RETURN_IF_ERROR(TakeProgram(folder.string(), spec).status());
  prepared.envelope.set_spec_json(CanonicalJson(spec));
  prepared.envelope.set_config_digest(ConfigDigest(spec).ToBytes());
  return prepared;
}

absl::Status UploadFiles(const Console& console, Connection& connection, Prepared& prepared) {
  if (!prepared.program.empty()) {
    TRIB_RETURN_IF_ERROR(UploadFile(console, connection, prepared.program).status());
  }
  if (prepared.initial.empty()) return absl::OkStatus();
  TRIB_ASSIGN_OR_RETURN(*prepared.envelope.mutable_initial_model(),
                        UploadFile(console, connection, prepared.initial));
  return absl::OkStatus();
}

// Unique enough to tell one submission from the next, and the same for the retries of one.
std::string RequestId(const v1::JobEnvelope& envelope, absl::Time now) {
  return Sha256::Of(absl::StrCat(envelope.config_digest(), absl::ToUnixNanos(now))).ToHex();
}

std::string VersionText(const v1::Job& job) {
  if (job.version() < 0) return "-";
  std::string text = absl::StrCat(job.version());
  if (job.stop_versions() > 0) absl::StrAppend(&text, "/", job.stop_versions());
  return text;
}

// Of a job that waits for its first model or has ended, the state says it all.
std::string PhaseText(const v1::Job& job) {
  const bool told = job.version() >= 0 && !IsEnded(job.state());
  return cli::FormatPhase({.phase = told ? PhaseName(job.phase()) : "",
                           .contributions = job.contributions(),
                           .contributions_asked = job.contributions_asked(),
                           .task = job.task(),
                           .tasks = job.tasks()});
}

// "90.1 % 88.0 %", of the tasks so far; empty: none was evaluated.
std::string TaskAccuracies(const v1::Job& job) {
  if (job.task_accuracies().empty()) return "";
  return absl::StrJoin(
      job.task_accuracies().rbegin()->accuracy(), " ",
      [](std::string* out, double accuracy) { absl::StrAppend(out, FormatPercent(accuracy)); });
}

// The same with what they come to.
std::string TasksText(const v1::Job& job) {
  std::string text = TaskAccuracies(job);
  if (job.has_average_accuracy()) {
    absl::StrAppend(&text, ", average ", FormatPercent(job.average_accuracy()));
  }
  if (job.has_forgetting()) absl::StrAppend(&text, ", forgotten ", FormatPercent(job.forgetting()));
  return text.empty() ? "-" : text;
}

cli::JobView View(const v1::Job& job) {
  cli::JobView view{.version = job.version(),
                    .updates = job.updates(),
                    .lost = LostUpdates(job.counters()),
                    .state = StateName(job.state()),
                    .phase = PhaseText(job)};
  if (const std::string accuracies = TaskAccuracies(job); !accuracies.empty()) {
    view.note = absl::StrCat("tasks ", accuracies);
  }
  if (job.stop_versions() > 0) view.stop_versions = job.stop_versions();
  if (job.has_evaluation() && job.evaluation().version() >= 0) {
    view.accuracy = job.evaluation().accuracy();
    view.loss = job.evaluation().loss();
  }
  return view;
}

std::string EvaluationText(bool present, const v1::Evaluation& evaluation) {
  if (!present || evaluation.version() < 0) return "-";
  return absl::StrFormat("%s, loss %.4f, version %d, %d examples",
                         FormatPercent(evaluation.accuracy()), evaluation.loss(),
                         evaluation.version(), evaluation.num_examples());
}

// "3, abandoned 1, timed_out 2".
std::string CountsText(const google::protobuf::Map<std::string, int64_t>& counts) {
  int64_t all = 0;
  std::string each;
  for (const auto& [cause, count] : counts) {
    all += count;
    absl::StrAppend(&each, ", ", cause, " ", count);
  }
  return absl::StrCat(all, each);
}

// "rank 2: 1.2 MB, rank 4: 1.3 MB".
std::string AdapterMemoryText(const v1::Job& job) {
  const std::map<int64_t, int64_t> by_rank(job.adapter_memory().begin(),
                                           job.adapter_memory().end());
  return absl::StrJoin(by_rank, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, "rank ", entry.first, ": ",
                    FormatBytes(static_cast<double>(entry.second)));
  });
}

void PrintJob(const Console& console, const v1::Job& job) {
  if (console.json) return console.PrintJson(ToJson(job));
  const v1::JobCounters& counters = job.counters();
  const auto bytes = [](uint64_t n) { return FormatBytes(static_cast<double>(n)); };
  std::string state = StateName(job.state());
  if (!job.reason().empty()) absl::StrAppend(&state, " (", job.reason(), ")");
  std::vector<std::vector<std::string>> rows = {
      {"job", job.job_id()},
      {"name", job.name()},
      {"state", state},
      {"phase", PhaseText(job)},
      {"submitted", FormatTime(job.submitted_at())},
      {"version", VersionText(job)},
      {"newest evaluation", EvaluationText(job.has_evaluation(), job.evaluation())},
      {"best evaluation", EvaluationText(job.has_best(), job.best())},
      {"task accuracies", TasksText(job)},
      {"rates", absl::StrFormat("server %g, clients %g", job.server_rate(), job.client_rate())},
      {"updates", absl::StrCat(job.updates())},
      {"in flight", absl::StrCat(job.in_flight())},
      {"lost", CountsText(counters.lost())},
      {"put off", CountsText(counters.put_off())},
      {"disk pauses", absl::StrCat(counters.disk_pauses())},
      {"late updates", absl::StrCat(counters.late_updates())},
      {"client steps", absl::StrCat(counters.client_steps())},
      {"uplink", absl::StrCat(bytes(counters.uplink_bytes()), " (",
                              bytes(counters.uplink_bytes_dense()), " as raw float32)")},
      {"downlink", bytes(counters.downlink_bytes())}};
  if (job.adapter_memory_size() > 0) {
    rows.push_back({"adapter memory", AdapterMemoryText(job)});
    rows.push_back({"clients without rank", absl::StrCat(job.clients_without_rank())});
  }
  console.out << FormatTable(rows);
}

}  // namespace

ExitCode ValidateJob(const Console& console, const std::string& path) {
  const auto prepared = Prepare(path);
  if (!prepared.ok()) return console.Fail(prepared.status(), ExitCode::kRefused);
  const v1::JobEnvelope& envelope = prepared->envelope;
  const std::string digest = Digest::FromBytes(envelope.config_digest())->ToHex();
  if (console.json) {
    console.PrintJson({{"path", path},
                       {"config_digest", digest},
                       {"spec", nlohmann::json::parse(envelope.spec_json())}});
  } else {
    console.out << path << ": a good job, config digest " << digest << "\n";
  }
  return ExitCode::kDone;
}

ExitCode PrintJobSchema(const Console& console) {
  console.out << JobFileJsonSchema().dump(2) << "\n";
  return ExitCode::kDone;
}

ExitCode SubmitJob(const Console& console, Connection& connection, const std::string& path,
                   bool watch) {
  auto prepared = Prepare(path);
  if (!prepared.ok()) return console.Fail(prepared.status(), ExitCode::kRefused);
  const absl::Status uploaded = UploadFiles(console, connection, *prepared);
  if (!uploaded.ok()) return console.Fail(uploaded);
  v1::SubmitJobRequest request;
  *request.mutable_job() = std::move(prepared->envelope);
  request.set_request_id(RequestId(request.job(), console.clock.Now()));
  const auto response = connection.Call(&v1::Operator::StubInterface::SubmitJob, request);
  if (!response.ok()) return console.Fail(response.status());
  if (console.json) {
    console.PrintJson({{"job_id", response->job_id()}});
  } else {
    console.out << response->job_id() << "\n" << std::flush;
  }
  return watch ? WatchJob(console, connection, response->job_id()) : ExitCode::kDone;
}

ExitCode ListJobs(const Console& console, Connection& connection) {
  const auto response =
      connection.Call(&v1::Operator::StubInterface::ListJobs, v1::ListJobsRequest());
  if (!response.ok()) return console.Fail(response.status());
  if (console.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const v1::Job& job : response->jobs()) list.push_back(ToJson(job));
    console.PrintJson(list);
    return ExitCode::kDone;
  }
  std::vector<std::vector<std::string>> rows = {{"JOB", "NAME", "STATE", "PHASE", "VERSION",
                                                 "ACCURACY", "AVERAGE", "UPDATES", "LOST",
                                                 "SUBMITTED"}};
  for (const v1::Job& job : response->jobs()) {
    const bool evaluated = job.has_evaluation() && job.evaluation().version() >= 0;
    rows.push_back({job.job_id(), job.name(), StateName(job.state()), PhaseText(job),
                    VersionText(job), evaluated ? FormatPercent(job.evaluation().accuracy()) : "-",
                    job.has_average_accuracy() ? FormatPercent(job.average_accuracy()) : "-",
                    absl::StrCat(job.updates()), absl::StrCat(LostUpdates(job.counters())),
                    FormatTime(job.submitted_at())});
  }
  console.out << FormatTable(rows);
  return ExitCode::kDone;
}

ExitCode ShowJob(const Console& console, Connection& connection, const std::string& job_id) {
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  const auto job = connection.Call(&v1::Operator::StubInterface::GetJob, request);
  if (!job.ok()) return console.Fail(job.status());
  PrintJob(console, *job);
  return ExitCode::kDone;
}

ExitCode WatchJob(const Console& console, Connection& connection, const std::string& job_id) {
  v1::WatchJobRequest request;
  request.set_job_id(job_id);
  grpc::ClientContext context;
  const auto stream = connection.stub().WatchJob(&context, request);
  cli::ProgressLine line(console.out, console.terminal, console.clock);
  v1::Job job;
  while (stream->Read(&job)) {
    if (console.json) {
      console.out << ToJson(job).dump() << "\n" << std::flush;
    } else {
      line.Show(View(job));
    }
  }
  line.Finish();
  const absl::Status status = connection.ToStatus(stream->Finish());
  if (!status.ok()) return console.Fail(status);
  if (!IsEnded(job.state())) {
    return console.Fail(absl::UnavailableError(
        absl::StrCat("the server stopped telling about ", job_id, " before it ended")));
  }
  if (job.state() == v1::JOB_STATE_FAILED) {
    return console.Fail(absl::AbortedError(absl::StrCat(job_id, " failed: ", job.reason())),
                        ExitCode::kJobFailed);
  }
  if (!console.json) {
    console.out << job_id << " " << StateName(job.state())
                << (job.reason().empty() ? "" : ": " + job.reason()) << "\n";
  }
  return ExitCode::kDone;
}

ExitCode SteerJob(const Console& console, Connection& connection, const std::string& job_id,
                  JobVerb verb) {
  const auto call = [&](auto request, auto method) {
    request.set_job_id(job_id);
    return connection.Call(method, request);
  };
  using Stub = v1::Operator::StubInterface;
  const absl::StatusOr<v1::Job> job =
      verb == JobVerb::kPause      ? call(v1::PauseJobRequest(), &Stub::PauseJob)
      : verb == JobVerb::kResume   ? call(v1::ResumeJobRequest(), &Stub::ResumeJob)
      : verb == JobVerb::kNextTask ? call(v1::NextTaskRequest(), &Stub::NextTask)
                                   : call(v1::CancelJobRequest(), &Stub::CancelJob);
  if (!job.ok()) return console.Fail(job.status());
  if (console.json) {
    console.PrintJson(ToJson(*job));
  } else {
    console.out << job_id << " is " << StateName(job->state()) << "\n";
  }
  return ExitCode::kDone;
}

}  // namespace tributary::op
