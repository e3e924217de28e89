// A process that publishes in a loop is killed again and again at any instant.
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/sqlite_store.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;

constexpr int kCrashes = 20;
constexpr int64_t kSize = 64 << 10;  // 256 KiB: most of the time goes into the files
const JobId kJob("j");

// What was acknowledged before the process died.
struct Acknowledged {
  int64_t versions = 0;
  int64_t lines = 0;
};

// The values of version v: the same noise, with v in the first place.
ParamVector ModelOf(Version version) {
  ParamVector model = test::RandomParams(test::FlatLayout(kSize), 1);
  model.values()[0] = static_cast<float>(version);
  return model;
}
ParamVector MomentOf(Version version) {
  ParamVector moment = test::RandomParams(test::FlatLayout(kSize), 2);
  moment.values()[0] = static_cast<float>(version);
  return moment;
}

std::string DeltaOf(Version version) { return absl::StrCat("to version ", version); }

// When to die: so long after so many publications of this run.
struct Death {
  int64_t publications;
  int64_t microseconds;
};

void DieAfter(int64_t microseconds) {
  std::signal(SIGALRM, [](int) { kill(getpid(), SIGKILL); });
  const itimerval timer{{0, 0}, {0, static_cast<suseconds_t>(microseconds)}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// Goes on from the newest version until it dies. Never returns.
[[noreturn]] void PublishUntilKilled(const std::string& path, Death death, int pipe) {
  auto store = SqliteStore::Create({.path = path});
  if (!store.ok()) _exit(1);
  auto versions = (*store)->ListVersions(kJob);
  if (!versions.ok()) _exit(2);
  ParamVector model = ModelOf(0);
  ParamVector moment = MomentOf(0);

  const auto first = static_cast<Version>(versions->size());
  for (Version version = first;; ++version) {
    if (version - first == death.publications) DieAfter(death.microseconds);
    if (!(*store)
             ->AppendJournal(kJob, {absl::StrCat(version, "a"), absl::StrCat(version, "b")})
             .ok()) {
      _exit(3);
    }
    if (write(pipe, "L", 1) != 1) _exit(4);
    model.values()[0] = moment.values()[0] = static_cast<float>(version);
    Publication publication;
    publication.job = kJob;
    publication.version = version;
    publication.model = &model;
    publication.delta = version > 0 ? DeltaOf(version) : "";
    publication.state_vectors = {{"m", &moment}};
    publication.state_scalars = {{"s", static_cast<double>(version)}};
    if (!(*store)->Publish(publication).ok()) _exit(5);
    if (write(pipe, "V", 1) != 1) _exit(6);
    if (!(*store)->Prune(kJob, 2).ok()) _exit(7);
  }
}

Acknowledged RunAndKill(const std::string& path, Death death) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    PublishUntilKilled(path, death, ends[1]);
  }
  close(ends[1]);
  Acknowledged acknowledged;
  char letter = 0;
  while (read(ends[0], &letter, 1) == 1) {
    letter == 'V' ? ++acknowledged.versions : acknowledged.lines += 2;
  }
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      << "exit code " << WEXITSTATUS(status);
  return acknowledged;
}

std::set<std::string> NamesIn(const std::string& dir) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_directory()) names.insert(entry.path().filename().string());
  }
  return names;
}

// The delta to every version is there, and there is no other file.
void ExpectDeltasIntact(const ModelStore& store, const std::string& deltas_dir) {
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<VersionRecord> versions, store.ListVersions(kJob));
  if (versions.empty()) return;
  TRIB_ASSERT_OK_AND_ASSIGN(const auto deltas, store.OpenDeltas(kJob, 0, versions.back().version));
  std::string found, expected;
  std::set<std::string> wanted;
  for (Version version = 1; version <= versions.back().version; ++version) {
    expected += DeltaOf(version);
    wanted.insert(Sha256::Of(DeltaOf(version)).ToHex() + ".delta");
  }
  ASSERT_THAT(deltas->Read(0, deltas->size_bytes(), found), IsOk());
  EXPECT_EQ(found, expected);
  EXPECT_EQ(NamesIn(deltas_dir), wanted);
}

// Every version and state that is said to be there is whole, and there is no other file.
void ExpectIntact(const ModelStore& store, const std::string& params_dir) {
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<VersionRecord> versions, store.ListVersions(kJob));
  std::set<std::string> wanted;
  int kept = 0;
  for (const VersionRecord& record : versions) {
    if (record.kept) {
      ++kept;
      TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, store.LoadModel(kJob, record.version));
      EXPECT_THAT(model, test::ParamsNear(ModelOf(record.version), 0));
      wanted.insert(model.ComputeDigest().ToHex() + ".f32");
    }
    ParamVector moment;
    double scalar = -1;
    const absl::Status status =
        store.LoadState(kJob, record.version, {{"m", &moment}}, {{"s", &scalar}});
    if (absl::IsNotFound(status) && &record != &versions.back()) continue;
    ASSERT_THAT(status, IsOk());
    EXPECT_EQ(scalar, static_cast<double>(record.version));
    EXPECT_THAT(moment, test::ParamsNear(MomentOf(record.version), 0));
    wanted.insert(moment.ComputeDigest().ToHex() + ".f32");
  }
  EXPECT_GE(kept, std::min<int>(2, static_cast<int>(versions.size())));
  EXPECT_EQ(NamesIn(params_dir), wanted);
}

TEST(SqliteStoreCrash, EverythingAcknowledgedSurvivesAndNothingIsHalf) {
  const test::TempDir dir;
  const std::string path = dir.File("store");
  {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto store, SqliteStore::Create({.path = path}));
    JobRecord job;
    job.id = kJob;
    ASSERT_THAT(store->PutJob(job), IsOk());
  }
  Rng rng(20);
  int64_t versions_before = 0;
  int64_t lines_before = 0;
  for (int crash = 0; crash < kCrashes; ++crash) {
    SCOPED_TRACE(absl::StrCat("crash ", crash));
    const Acknowledged acknowledged =
        RunAndKill(path, {rng.UniformInt(4), 1 + rng.UniformInt(20'000)});
    TRIB_ASSERT_OK_AND_ASSIGN(const auto store, SqliteStore::Create({.path = path}));
    ExpectIntact(*store, path + "/params");
    ExpectDeltasIntact(*store, path + "/deltas");

    TRIB_ASSERT_OK_AND_ASSIGN(const auto versions, store->ListVersions(kJob));
    const auto count = static_cast<int64_t>(versions.size());
    EXPECT_GE(count, versions_before + acknowledged.versions);
    EXPECT_LE(count, versions_before + acknowledged.versions + 1);  // durable, then killed
    for (int64_t v = 0; v < count; ++v) EXPECT_EQ(versions[static_cast<size_t>(v)].version, v);

    TRIB_ASSERT_OK_AND_ASSIGN(const auto journal, store->ReadJournal(kJob));
    const auto lines = static_cast<int64_t>(journal.size());
    EXPECT_GE(lines, lines_before + acknowledged.lines);
    EXPECT_LE(lines, lines_before + acknowledged.lines + 2);
    ASSERT_EQ(lines % 2, 0) << "half a batch";
    for (size_t i = 0; i + 1 < journal.size(); i += 2) {
      EXPECT_EQ(journal[i].back(), 'a');
      EXPECT_EQ(journal[i + 1].back(), 'b');
      EXPECT_EQ(journal[i].substr(0, journal[i].size() - 1),
                journal[i + 1].substr(0, journal[i + 1].size() - 1));
    }
    versions_before = count;
    lines_before = lines;
  }
}

}  // namespace
}  // namespace tributary
