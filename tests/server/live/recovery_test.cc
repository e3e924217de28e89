// kill -9 at any moment: the host is dropped after n tasks, for every n, and opened again on
// what is on disk. Nothing that was acknowledged may be lost or counted twice.
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/durable_file.h"
#include "server/coordinator/run_record.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

// A client that keeps its order over a crash of the server, and asks again when it gets no
// answer.
class Agent {
 public:
  // What it uploads, the same whenever it is asked for the same.
  using Values = std::function<ParamVector(const WorkItem&)>;

  Agent(LiveFixture* fixture, std::string id, Values values)
      : client_(fixture, std::move(id)), values_(std::move(values)) {}

  void Step() {
    if (!enrolled_) {
      enrolled_ = client_.Enroll().ok();
    } else if (!item_) {
      client_.CheckIn();
      if (!client_.answer || !client_.answer->ok()) return;
      if (const auto* work = std::get_if<WorkItem>(&**client_.answer)) item_ = *work;
    } else {
      Settle(client_.UploadValues(*item_, values_(*item_)));
    }
  }
  int64_t refused() const { return refused_; }
  FakeClient& client() { return client_; }

 private:
  void Settle(const std::optional<absl::StatusOr<UploadAnswer>>& answer) {
    if (Accepted(answer)) item_.reset();
    if (RefusedFor(answer) == Refusal::kNone) return;
    ++refused_;
    item_.reset();
  }

  FakeClient client_;
  const Values values_;
  bool enrolled_ = false;
  std::optional<WorkItem> item_;
  int64_t refused_ = 0;
};

// A first model of zeros; deltas that are `value` everywhere.
Agent::Values Always(float value) {
  return [value](const WorkItem& item) {
    const bool first = item.order.kind == WorkKind::kInitialise;
    return MakeParams(FlatLayout(3, 1), std::vector<float>(4, first ? 0 : value));
  };
}

// The record of a job with two clients that agrees with itself, and with what was kept.
void ExpectWholeRecord(LiveFixture& fixture, const JobId& job, Version versions) {
  fixture.Crash();
  fixture.Start();
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture.Export(job));
  EXPECT_EQ(made.version, versions);
  EXPECT_THAT(made.events, HasSoundDigests());
  std::set<std::string> kept;
  for (const JobExport::KeptFile& file : made.kept) kept.insert(file.name);
  EXPECT_TRUE(kept.contains(kFirstModelFile));
  int64_t updates = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(made.events, '\n'))) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || json.value("event", "") != "update_arrived") continue;
    ++updates;
    const std::string name = UpdateFile(json.at("work_order"));
    ASSERT_TRUE(kept.contains(name)) << name;
    Xxh3Stream checksum;
    checksum.Update(
        *ReadWholeFile(absl::StrCat(fixture.data_dir(), "/updates/", job.value(), "/", name)));
    EXPECT_EQ(json.at("xxh128"), checksum.Value().ToHex()) << name;
  }
  EXPECT_EQ(updates, 2 * versions);
}

// Runs a job to its end, with a crash after `crash_after` tasks. Returns the tasks run.
int64_t RunJob(int64_t crash_after, Version versions, bool initial_from_file,
               bool keep_updates = false, const nlohmann::json& downlink = {}) {
  LiveFixture fixture;
  fixture.Start(crash_after);
  Agent a(&fixture, "a", Always(1)), b(&fixture, "b", Always(3));
  const std::vector<float> initial =
      initial_from_file ? std::vector<float>{0, 0, 0, 0} : std::vector<float>{};
  JobId job;
  bool done = false;
  for (int step = 0; step < 100 && !done; ++step) {
    if (!fixture.Run()) {
      fixture.Crash();
      fixture.Start();
    }
    if (job.empty()) {
      nlohmann::json more = {{"keep_updates", keep_updates}};
      if (!downlink.is_null()) more["downlink"] = downlink;
      job = fixture.Submit("demo", 2, versions, initial, more);
    } else {
      a.Step();
      b.Step();
      done = fixture.Job(job).progress.state == JobState::kDone && fixture.Run();
    }
  }
  EXPECT_TRUE(done) << "the job did not end";
  if (!done) return 0;
  EXPECT_EQ(fixture.host().ListJobs().size(), 1u);
  EXPECT_EQ(fixture.Job(job).progress.updates, 2 * versions);
  EXPECT_TRUE(fixture.Job(job).progress.lost.empty());
  EXPECT_EQ(a.refused() + b.refused(), 0);
  EXPECT_EQ(fixture.store().GetJob(job)->state, "done");
  EXPECT_THAT(fixture.SpoolFiles(), ::testing::IsEmpty());
  const auto mean = static_cast<float>(2 * versions);
  const std::vector<float> model =
      downlink.is_null() ? std::vector<float>{mean, mean, mean, 2} : std::vector<float>{2, 4, 0, 2};
  EXPECT_THAT(*fixture.store().LoadModel(job, versions), ParamsNear(model, 0));
  if (keep_updates) ExpectWholeRecord(fixture, job, versions);
  return fixture.tasks_run();
}

TEST(RecoveryTest, NothingIsLostWhereverItIsKilled) {
  const int64_t tasks = RunJob(std::numeric_limits<int64_t>::max(), 2, true);
  ASSERT_GT(tasks, 50);
  for (int64_t n = 0; n <= tasks; ++n) {
    SCOPED_TRACE(n);
    RunJob(n, 2, true);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RecoveryTest, AFirstModelFromAClientIsNotLostEither) {
  const int64_t tasks = RunJob(std::numeric_limits<int64_t>::max(), 1, false);
  for (int64_t n = 0; n <= tasks; ++n) {
    SCOPED_TRACE(n);
    RunJob(n, 1, false);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RecoveryTest, KeptUpdatesAndTheRecordSurviveToo) {
  const int64_t tasks =
      RunJob(std::numeric_limits<int64_t>::max(), 1, false, /*keep_updates=*/true);
  for (int64_t n = 0; n <= tasks; ++n) {
    SCOPED_TRACE(n);
    RunJob(n, 1, false, /*keep_updates=*/true);
    if (::testing::Test::HasFailure()) return;
  }
}

// Of (2, 2, 2) the first value is published, then of what is left, (2, 4, 4), the second.
TEST(RecoveryTest, WhatADownlinkHasLeftOutIsNotLostEither) {
  const nlohmann::json downlink = {{"codec", {{{"topk", {{"count", 1}}}}}}};
  const int64_t tasks =
      RunJob(std::numeric_limits<int64_t>::max(), 2, true, /*keep_updates=*/false, downlink);
  for (int64_t n = 0; n <= tasks; ++n) {
    SCOPED_TRACE(n);
    RunJob(n, 2, true, /*keep_updates=*/false, downlink);
    if (::testing::Test::HasFailure()) return;
  }
}

LayoutPtr TwoLayers() {
  return MakeLayout({{.name = "fc1.weight", .shape = {3, 4}},
                     {.name = "fc1.bias", .shape = {3}},
                     {.name = "fc2.weight", .shape = {2, 3}},
                     {.name = "fc2.bias", .shape = {2}}});
}

// As if this client had data of its own: random, but of one direction for the inputs of a task.
Agent::Values Learner(uint64_t client) {
  return [client](const WorkItem& item) {
    const auto about = static_cast<uint64_t>(item.order.version + 100 * (item.order.task + 1));
    const WorkKind kind = item.order.kind;
    if (kind == WorkKind::kInitialise) return RandomParams(TwoLayers(), 1);
    if (kind == WorkKind::kTrain) return RandomParams(TwoLayers(), 1000 * client + about, 0.1F);
    ParamVector contribution = RandomParams(item.collect.layout, 1000 * client + about);
    for (float& value : contribution.values()) value *= kind == WorkKind::kSketch ? 0 : value;
    if (kind == WorkKind::kSketch) {
      for (const ParamLayout::Tensor& tensor : contribution.layout()->tensors()) {
        // Of the Gram matrix, by rows from the diagonal on: the first entry, or the last.
        contribution.View(tensor.name)[item.order.task == 0 ? 0 : tensor.size - 1] = 1;
      }
    }
    return contribution;
  };
}

// The same of adapters, in the rank that the order says.
Agent::Values AdapterLearner(uint64_t client) {
  return [learn = Learner(client), client](const WorkItem& item) {
    if (item.order.kind != WorkKind::kTrain) return learn(item);
    const auto plan = LoraPlan::Create(ParseLoraTerms(item.lora_json).value(), *TwoLayers());
    const AdapterFactors sent = (*plan)->rule().SendsFrom(item.order.version);
    return RandomParams((*plan)->AdapterLayout(item.order.adapter_rank, sent),
                        1000 * client + static_cast<uint64_t>(item.order.version), 0.1F);
  };
}

struct Learning {
  nlohmann::json sections;
  Agent::Values (*learner)(uint64_t client);
};

// Explores a mask and learns three tasks, its rate following the deltas.
Learning MaskAndTasks() {
  return {{{"aggregation", {{"transforms", {"prune_mask", "orthogonal_projection"}}}},
           {"hypergradient", {{"variant", "global"}}},
           {"continual", {{"tasks", 3}, {"versions_per_task", 2}}},
           {"collection", {{"minimum", 2}}},
           {"keep_versions", 100}},
          Learner};
}

// Adapters of two ranks whose sum is sent in part, the rest later; projected from task to task.
Learning AdaptersAndTasks() {
  const nlohmann::json rule = {{"delivery", "recompressed"}, {"rank", {{"fixed", {{"rank", 1}}}}}};
  return {{{"lora", {{"ranks", {2, 1}}, {"targets", {"fc*"}}}},
           {"aggregation",
            {{"combine", {{"lora_stacking", rule}}}, {"transforms", {"orthogonal_projection"}}}},
           {"hypergradient", {{"variant", "global"}}},
           {"continual", {{"tasks", 3}, {"versions_per_task", 2}}},
           {"collection", {{"minimum", 2}}},
           {"keep_versions", 100}},
          AdapterLearner};
}

// An adapter that the model keeps, of which clients send one factor and then the other.
Learning KeptAdapter() {
  return {{{"lora", {{"rank", 2}, {"targets", {"fc*"}}}},
           {"aggregation", {{"combine", "rolora"}, {"optimizer", "momentum"}}},
           {"continual", {{"tasks", 3}, {"versions_per_task", 2}}},
           {"keep_versions", 100}},
          AdapterLearner};
}

struct Learnt {
  std::vector<Digest> versions;  // by version
  int64_t tasks_run = 0;
};

// Crashes after `crash_after` tasks; of version `locked_at` the first attempt fails.
Learnt LearnTasks(const Learning& learning, int64_t crash_after, Version locked_at = -1) {
  LiveFixture fixture;
  fixture.Start(crash_after);
  Agent a(&fixture, "a", learning.learner(1)), b(&fixture, "b", learning.learner(2));
  // What happens between chunks is the same for any upload.
  a.client().chunk_bytes = b.client().chunk_bytes = 1000;
  JobId job;
  bool done = false;
  for (int step = 0; step < 300 && !done; ++step) {
    if (!fixture.Run()) {
      fixture.Crash();
      fixture.Start();
    }
    if (job.empty()) {
      job = fixture.Submit("tasks", 2, 1000, {}, learning.sections);
      continue;
    }
    if (locked_at == fixture.Job(job).progress.version + 1) {
      fixture.store().locked = 1;
      locked_at = -1;
    }
    a.Step();
    b.Step();
    fixture.Advance(absl::Seconds(1));
    done = fixture.Job(job).progress.state == JobState::kDone && fixture.Run();
  }
  EXPECT_TRUE(done) << "the job did not end";
  Learnt learnt{.versions = {}, .tasks_run = fixture.tasks_run()};
  if (!done) return learnt;
  EXPECT_EQ(fixture.Job(job).progress.reason, "learnt 3 tasks");
  EXPECT_TRUE(fixture.Job(job).progress.lost.empty());
  EXPECT_EQ(a.refused() + b.refused(), 0);
  EXPECT_THAT(fixture.SpoolFiles(), ::testing::IsEmpty());
  EXPECT_EQ(fixture.store().locked, 0);
  const std::vector<VersionRecord> versions = *fixture.store().ListVersions(job);
  for (const VersionRecord& version : versions) learnt.versions.push_back(version.model_digest);
  return learnt;
}

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

void ExpectTheSameWhereverItIsKilled(const Learning& learning, const Learnt& whole) {
  ASSERT_GT(whole.tasks_run, 150);
  for (int64_t n = 0; n <= whole.tasks_run; ++n) {
    SCOPED_TRACE(n);
    EXPECT_EQ(LearnTasks(learning, n).versions, whole.versions);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RecoveryTest, WhatIsLearntIsTheSameWhereverItIsKilled) {
  const Learnt whole = LearnTasks(MaskAndTasks(), kNever);
  // The first model, the mask, two of each task, and two bases between them.
  ASSERT_EQ(whole.versions.size(), 1u + 1 + 3 * 2 + 2);
  ASSERT_EQ(whole.versions[3], whole.versions[4]) << "a basis changes no value";
  ExpectTheSameWhereverItIsKilled(MaskAndTasks(), whole);
}

TEST(RecoveryTest, AdaptersAreCombinedTheSameWhereverItIsKilled) {
  const Learnt whole = LearnTasks(AdaptersAndTasks(), kNever);
  ASSERT_EQ(whole.versions.size(), 1u + 3 * 2 + 2);
  ExpectTheSameWhereverItIsKilled(AdaptersAndTasks(), whole);
}

TEST(RecoveryTest, AKeptAdapterIsTheSameWhereverItIsKilled) {
  const Learnt whole = LearnTasks(KeptAdapter(), kNever);
  ASSERT_EQ(whole.versions.size(), 1u + 3 * 2);
  ExpectTheSameWhereverItIsKilled(KeptAdapter(), whole);
}

// The transform has learnt, and then what it learnt is not stored: the attempt must leave nothing.
TEST(RecoveryTest, WhatIsLearntIsLearntOnceThoughTheStoreRefusesIt) {
  for (const Learning& learning : {MaskAndTasks(), AdaptersAndTasks(), KeptAdapter()}) {
    const Learnt whole = LearnTasks(learning, kNever);
    for (Version version = 0; version < std::ssize(whole.versions); ++version) {
      SCOPED_TRACE(version);
      EXPECT_EQ(LearnTasks(learning, kNever, version).versions, whole.versions);
    }
  }
}

TEST(RecoveryTest, EndedJobsKeepTheirFigures) {
  LiveFixture fixture;
  fixture.Start();
  FakeClient a(&fixture, "a");
  ASSERT_THAT(a.Enroll(), IsOk());
  const JobId job = fixture.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  const JobView before = fixture.Job(job);
  fixture.Crash();
  fixture.Start();
  const JobView after = fixture.Job(job);
  EXPECT_EQ(after.progress.state, JobState::kDone);
  EXPECT_EQ(after.progress.updates, 1);
  EXPECT_EQ(after.progress.model_digest, before.progress.model_digest);
  EXPECT_EQ(after.uplink_bytes_dense, before.uplink_bytes_dense);
  EXPECT_EQ(after.record.ended_at, before.record.ended_at);
  EXPECT_EQ(fixture.Submit("demo", 1, 1, {0, 0, 0, 0}), job);
  EXPECT_EQ(fixture.host().GetClient(a.id())->record.updates, 1);
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));  // "already have it"
}

TEST(RecoveryTest, AClientThatNeverReturnsIsLostAfterARestart) {
  LiveFixture fixture;
  fixture.Start();
  FakeClient a(&fixture, "a"), b(&fixture, "b");
  ASSERT_THAT(a.Enroll(), IsOk());
  ASSERT_THAT(b.Enroll(), IsOk());
  const JobId job = fixture.Submit("demo", 1, 1, {0, 0, 0, 0});
  ASSERT_TRUE(a.GetWork());
  fixture.Crash();
  fixture.Start();
  fixture.Advance(absl::Minutes(6));
  EXPECT_EQ(fixture.Lost(job, "timed_out"), 1);
  const auto work = b.GetWork();
  ASSERT_TRUE(work);
  EXPECT_TRUE(Accepted(b.UploadDelta(*work, 1)));
  EXPECT_EQ(fixture.Job(job).progress.state, JobState::kDone);
}

TEST(RecoveryTest, AJournalThatCannotBeReadFailsItsJobAlone) {
  LiveFixture fixture;
  fixture.Start();
  const JobId bad = fixture.Submit("bad", 1, 1, {0, 0, 0, 0});
  const JobId good = fixture.Submit("good", 1, 1, {0, 0, 0, 0});
  ASSERT_THAT(fixture.store().AppendJournal(bad, {"{not json"}), IsOk());
  fixture.Crash();
  fixture.Start();
  EXPECT_EQ(fixture.Job(bad).progress.state, JobState::kFailed);
  EXPECT_THAT(fixture.Job(bad).progress.reason, ::testing::HasSubstr("journal of job bad-1"));
  EXPECT_EQ(fixture.Job(good).progress.state, JobState::kRunning);
}

}  // namespace
}  // namespace tributary::test
