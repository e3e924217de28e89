#include "tests/server/live/live_fixture.h"

#include <deque>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/codec/update_payload.h"
#include "common/durable_file.h"
#include "common/params/safetensors.h"
#include "server/coordinator/run_record.h"

namespace tributary::test {

LiveFixture::LiveFixture(LiveOptions options, SpoolLimits limits)
    : options_(std::move(options)), limits_(limits), store_(std::make_unique<FillingStore>()) {
  options_.data_dir = dir_.path();
}

void LiveFixture::Start(int64_t tasks) {
  tasks_left_ = tasks;
  spool_ = *Spool::Open({.dir = dir_.File("spool"),
                         .limits = limits_,
                         .min_free_bytes = kMinFreeBytes,
                         .free_bytes = [this] { return free_bytes; }});
  loop_ = std::make_unique<EventLoop>(&clock_);
  pool_ = std::make_unique<LoopExecutor>(loop_.get());
  auto host = LiveHost::Create(options_, {.loop = loop_.get(),
                                          .pool = pool_.get(),
                                          .clock = &clock_,
                                          .store = store_.get(),
                                          .spool = spool_.get()});
  EXPECT_THAT(host, IsOk());
  host_ = *std::move(host);
}

std::vector<std::string> LiveFixture::SpoolFiles() const {
  std::vector<std::string> files;
  const std::string spool = dir_.File("spool");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(spool)) {
    files.push_back(entry.path().lexically_relative(spool).string());
  }
  return files;
}

void LiveFixture::Crash() {
  if (loop_ == nullptr) return;
  loop_->Stop();
  host_.reset();
  pool_.reset();
  loop_.reset();
  spool_.reset();
}

bool LiveFixture::Run() {
  while (tasks_left_ > 0 && loop_->RunOne()) {
    --tasks_left_;
    ++tasks_run_;
  }
  return tasks_left_ > 0;
}

void LiveFixture::Advance(absl::Duration duration) {
  for (; duration > absl::ZeroDuration(); duration -= absl::Seconds(1)) {
    clock_.AdvanceBy(std::min(duration, absl::Seconds(1)));
    Run();
  }
}

FileDigest LiveFixture::Put(const std::string& content) {
  const FileDigest name{Sha256::Of(content), content.size()};
  absl::StatusOr<uint64_t> there = absl::DeadlineExceededError("no answer");
  host().PutFile({name, 0, content}, [&](absl::StatusOr<uint64_t> bytes) { there = bytes; });
  Run();
  EXPECT_THAT(there, IsOkAndHolds(content.size()));
  return name;
}

JobId LiveFixture::Submit(const std::string& name, int64_t trainers, int64_t versions,
                          const std::vector<float>& initial, const nlohmann::json& more) {
  nlohmann::json json = {{"name", name},
                         {"model", {{"custom", "fake"}}},
                         {"train", {{"optimizer", "sgd"}, {"local_steps", 1}}},
                         {"scheduler", {{"sync_round", {{"clients_per_round", trainers}}}}},
                         {"stop", {{"versions", versions}}}};
  if (!initial.empty()) json["model"]["initial"] = "first.safetensors";
  if (more.is_object()) json.update(more);
  auto spec = ParseJobSpecJson(json.dump());
  EXPECT_THAT(spec, IsOk());
  Submission submission{.request_id = name, .spec = *spec, .initial = {}};
  if (!initial.empty()) {
    const std::string path = data_dir() + "/first.safetensors";
    EXPECT_THAT(WriteSafetensors(MakeParams(FlatLayout(3, 1), initial), path), IsOk());
    submission.initial = Put(*ReadWholeFile(path));
  }
  JobId id;
  host().SubmitJob(std::move(submission), [&](absl::StatusOr<JobId> job) {
    EXPECT_THAT(job, IsOk());
    if (job.ok()) id = *job;
  });
  Run();
  return id;
}

absl::StatusOr<JobExport> LiveFixture::Export(const JobId& job) {
  absl::StatusOr<JobExport> result = absl::DeadlineExceededError("no answer");
  host().ExportJob(job, [&](absl::StatusOr<JobExport> made) { result = std::move(made); });
  Run();
  return result;
}

absl::Status FakeClient::Enroll() {
  absl::Status result = absl::DeadlineExceededError("no answer");
  fixture_->host().Enroll({id_, "fake/1", evaluate_only_},
                          [&](const absl::Status& status) { result = status; });
  fixture_->Run();
  return result;
}

void FakeClient::CheckIn(absl::Duration max_wait) {
  answer.reset();
  fixture_->host().CheckIn(id_, max_wait, {.task = task},
                           [this](absl::StatusOr<CheckInAnswer> a) { answer = std::move(a); });
  fixture_->Run();
}

std::optional<WorkItem> FakeClient::GetWork() {
  for (int i = 0; i < 3; ++i) {
    CheckIn();
    if (!answer || !answer->ok()) return std::nullopt;
    if (const auto* work = std::get_if<WorkItem>(&**answer)) return *work;
  }
  return std::nullopt;
}

UploadHeader FakeClient::Header(const WorkItem& item, absl::string_view payload) const {
  Xxh3Stream hash;
  hash.Update(payload);
  return {.client = id_,
          .job = item.job,
          .info = {.work_order = item.order.id,
                   .base_version = item.order.version,
                   .num_examples = 10,
                   .local_steps = 1,
                   .learning_rate = 0.1,
                   .loss = 1.0,
                   .accuracy = 0.5},
          .layout_digest = layout->digest().ToBytes(),
          .layout = item.order.kind == WorkKind::kInitialise ? layout : nullptr,
          .total_bytes = payload.size(),
          .checksum = hash.Value()};
}

std::optional<absl::StatusOr<UploadAnswer>> FakeClient::Upload(const UploadHeader& header,
                                                               absl::string_view payload,
                                                               uint64_t stop_at) {
  // Shared: an answer that waits for the journal may come after this has returned.
  const auto shared = std::make_shared<std::optional<absl::StatusOr<UploadAnswer>>>();
  std::optional<absl::StatusOr<UploadAnswer>>& result = *shared;
  std::shared_ptr<UploadStream> stream;
  fixture_->host().OpenUpload(header,
                              [shared, &stream](absl::StatusOr<LiveHost::OpenedUpload> opened) {
                                if (!opened.ok()) {
                                  *shared = opened.status();
                                } else if (opened->answer) {
                                  *shared = *opened->answer;
                                } else {
                                  stream = opened->stream;
                                }
                              });
  fixture_->Run();
  if (stream == nullptr) return result;
  for (uint64_t at = 0; at < std::min<uint64_t>(payload.size(), stop_at) && !result;
       at += chunk_bytes) {
    const std::string chunk(payload.substr(at, chunk_bytes));
    stream->Append(at, chunk, Xxh3(chunk), [shared](const absl::Status& status) {
      if (!status.ok()) *shared = status;
    });
    fixture_->Run();
  }
  if (result) return result;
  fixture_->host().FinishUpload(
      stream, [shared](absl::StatusOr<UploadAnswer> a) { *shared = std::move(a); });
  fixture_->Run();
  return result;
}

std::optional<absl::StatusOr<UploadAnswer>> FakeClient::UploadValues(const WorkItem& item,
                                                                     const ParamVector& values) {
  CodecContext context{.layout = values.layout()};
  std::vector<config::Choice> codec;
  std::optional<Mask> mask;
  const auto sent = fixture_->host().MaskOf(item.job);
  if (sent != nullptr && item.order.kind == WorkKind::kTrain) {
    mask = UnpackMask(values.layout()->trainable_size(), sent->bytes).value();
    context.mask = &*mask;
    codec.push_back({.name = "masked"});
  }
  const std::string payload = EncodeUpdate(**CreateCodec(codec), values, context);
  UploadHeader header = Header(item, payload);
  header.layout_digest = values.layout()->digest().ToBytes();
  if (header.layout != nullptr) header.layout = values.layout();
  return Upload(header, payload);
}

std::optional<absl::StatusOr<UploadAnswer>> FakeClient::UploadDelta(const WorkItem& item,
                                                                    float value) {
  const std::string payload = RawPayload(layout, value);
  return Upload(Header(item, payload), payload);
}

std::optional<absl::StatusOr<ReportAnswer>> FakeClient::Report(const WorkItem& item, double loss,
                                                               double accuracy, int64_t examples) {
  std::optional<absl::StatusOr<ReportAnswer>> result;
  fixture_->host().ReportEvaluation({.client = id_,
                                     .job = item.job,
                                     .version = item.order.version,
                                     .result = {item.order.id, examples, loss, accuracy}},
                                    [&](absl::StatusOr<ReportAnswer> a) { result = std::move(a); });
  fixture_->Run();
  return result;
}

absl::StatusOr<bool> FakeClient::Progress(const WorkItem& item) {
  absl::StatusOr<bool> result = absl::DeadlineExceededError("no answer");
  fixture_->host().ReportProgress(id_, item.job, item.order.id,
                                  [&](absl::StatusOr<bool> go_on) { result = go_on; });
  fixture_->Run();
  return result;
}

MATCHER(SoundDigests, "has sound digests") {
  std::unique_ptr<JobController> controller;
  RunDigest digest;
  std::deque<std::string> decided;
  const std::vector<std::string> lines = absl::StrSplit(absl::StripSuffix(arg, "\n"), '\n');
  for (const std::string& text : lines) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (controller == nullptr) {
      controller = *JobController::Create(*ParseJobSpecJson(line.at("job").dump()));
      controller->Start(absl::FromUnixNanos(line.at("started_at")), line.at("initial_model"));
    } else if (line.contains("action")) {
      if (decided.empty() || decided.front() != text) {
        *result_listener << "not decided now: " << text;
        return false;
      }
      decided.pop_front();
    } else {
      const JobEvent event = *JobEventFromJson(line);
      const std::vector<JobAction> actions = controller->Handle(event);
      if (!decided.empty() || digest.Add(event, actions) != line.at("digest")) {
        *result_listener << "another digest at " << text;
        return false;
      }
      for (const JobAction& a : actions) decided.push_back(ToLine(ToJson(a, event.at)));
    }
  }
  return decided.empty();
}

::testing::Matcher<const std::string&> HasSoundDigests() { return SoundDigests(); }

std::string RawPayload(const LayoutPtr& layout, float value) {
  ParamVector delta(layout);
  for (float& x : delta.values()) x = value;
  return EncodeUpdate(**CreateCodec({}), delta, {.layout = layout});
}

bool PutOff(const std::optional<absl::StatusOr<UploadAnswer>>& answer) {
  return answer && answer->ok() && (*answer)->state == UploadAnswer::State::kRetry;
}

bool Accepted(const std::optional<absl::StatusOr<UploadAnswer>>& answer) {
  return answer && answer->ok() && (*answer)->state == UploadAnswer::State::kAccepted;
}

Refusal RefusedFor(const std::optional<absl::StatusOr<UploadAnswer>>& answer) {
  if (!answer || !answer->ok() || (*answer)->state != UploadAnswer::State::kRefused) {
    return Refusal::kNone;
  }
  return (*answer)->refusal;
}

}  // namespace tributary::test
