// What is special of SqliteStore; what it shares with all stores is in
// tests/conformance/store_conformance_test.cc.
#include "server/store/sqlite_store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/sqlite_schema.h"
#include "tests/server/store/file_size_limit.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::IsOkAndHolds;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const JobId kJob("mnist");

class SqliteStoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ModelStore>> Open() {
    return SqliteStore::Create({.path = path_});
  }

  void OpenWithJob() {
    TRIB_ASSERT_OK_AND_ASSIGN(store_, Open());
    JobRecord job;
    job.id = kJob;
    ASSERT_THAT(store_->PutJob(job), IsOk());
  }

  absl::StatusOr<VersionRecord> Publish(const ParamVector& model, Version version,
                                        std::string delta = "") {
    Publication publication;
    publication.delta = std::move(delta);
    publication.job = kJob;
    publication.version = version;
    publication.model = &model;
    publication.state_vectors = {{"m", &model}};
    return store_->Publish(publication);
  }

  // A dumped database and the file of its one model.
  void OpenFixture(const std::string& dump) {
    const char* const source = std::getenv("TRIBUTARY_SOURCE_DIR");
    ASSERT_NE(source, nullptr);
    const std::string sql =
        test::ReadFile(absl::StrCat(source, "/tests/server/store/testdata/", dump));
    const ParamVector model = test::MakeParams(FlatLayout(2), {1.0F, -2.5F});
    const std::string hex = model.ComputeDigest().ToHex();
    dir_.Write(absl::StrCat("data/params/", hex.substr(0, 2), "/", hex, ".f32"),
               absl::string_view("\x00\x00\x80\x3f\x00\x00\x20\xc0", 8));
    {
      TRIB_ASSERT_OK_AND_ASSIGN(const SqliteConnection db,
                                SqliteConnection::Open(path_ + "/tributary.db", absl::Seconds(1)));
      ASSERT_THAT(db.Execute(sql.c_str()), IsOk());
    }
    TRIB_ASSERT_OK_AND_ASSIGN(store_, Open());
  }

  static std::string DeltaFile(absl::string_view content) {
    const std::string hex = Sha256::Of(content).ToHex();
    return absl::StrCat("data/deltas/", hex.substr(0, 2), "/", hex, ".delta");
  }

  std::string FileOf(const Digest& digest) const {
    const std::string hex = digest.ToHex();
    return absl::StrCat(path_, "/params/", hex.substr(0, 2), "/", hex, ".f32");
  }

  size_t CountFiles() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_ + "/params")) {
      if (!entry.is_directory()) ++count;
    }
    return count;
  }

  test::TempDir dir_;
  const std::string path_ = dir_.File("data");
  std::unique_ptr<ModelStore> store_;
};

TEST_F(SqliteStoreTest, EverythingIsThereAfterReopening) {
  OpenWithJob();
  const ParamVector model = RandomParams(FlatLayout(100), 1);
  ASSERT_THAT(Publish(model, 0), IsOk());
  ASSERT_THAT(store_->AppendJournal(kJob, {"a", "b"}), IsOk());
  store_.reset();
  TRIB_ASSERT_OK_AND_ASSIGN(store_, Open());
  EXPECT_THAT(store_->ListJobs(), IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(store_->LoadModel(kJob, 0), IsOkAndHolds(ParamsNear(model, 0)));
  EXPECT_THAT(store_->ReadJournal(kJob), IsOkAndHolds(ElementsAre("a", "b")));
  EXPECT_THAT(Publish(model, 1), IsOk());
}

TEST_F(SqliteStoreTest, SecondHolderIsRefusedAndToldWhoHasIt) {
  OpenWithJob();
  const auto refused =
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr(path_), HasSubstr(absl::StrCat("process ", getpid()))));
  EXPECT_THAT(Open(), refused);
  const pid_t child = fork();
  if (child == 0) _exit(absl::IsFailedPrecondition(Open().status()) ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "another process got in";
  store_.reset();
  EXPECT_THAT(Open(), IsOk());
}

TEST_F(SqliteStoreTest, FixtureOfVersionOneOpens) {
  const ParamVector model = test::MakeParams(FlatLayout(2), {1.0F, -2.5F});
  ASSERT_NO_FATAL_FAILURE(OpenFixture("v1.sql"));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobRecord job, store_->GetJob(kJob));
  EXPECT_EQ(job.request_id, "r-1");
  EXPECT_EQ(job.submitted_at, absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(job.ended_at, std::nullopt);
  TRIB_ASSERT_OK_AND_ASSIGN(const VersionRecord record, store_->GetVersion(kJob, 0));
  EXPECT_EQ(record.updates, 3);
  ASSERT_TRUE(record.evaluation.has_value());
  EXPECT_EQ(record.evaluation->accuracy, 0.75);
  EXPECT_THAT(store_->LoadModel(kJob, 0), IsOkAndHolds(ParamsNear(model, 0)));
  ParamVector moment, none;
  double step = 0;
  ASSERT_THAT(store_->LoadState(kJob, 0, {{"m", &moment}, {"none", &none}}, {{"step", &step}}),
              IsOk());
  EXPECT_THAT(moment, ParamsNear(model, 0));
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(step, 7);
  EXPECT_THAT(store_->ReadJournal(kJob), IsOkAndHolds(ElementsAre(R"({"e":1})", R"({"e":2})")));
  EXPECT_THAT(store_->ListClients(),
              IsOkAndHolds(ElementsAre(testing::Field(&ClientRecord::id, ClientId("c1")))));
}

TEST_F(SqliteStoreTest, VersionsOfAnOlderSchemaGetDeltasFromThenOn) {
  ASSERT_NO_FATAL_FAILURE(OpenFixture("v1.sql"));
  ASSERT_THAT(Publish(test::MakeParams(FlatLayout(2), {1.0F, -2.0F}), 1, "delta"), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto deltas, store_->OpenDeltas(kJob, 0, 1));
  EXPECT_EQ(deltas->size_bytes(), 5U);
}

TEST_F(SqliteStoreTest, FixtureOfVersionTwoOpens) {
  dir_.Write(DeltaFile("delta"), "delta");
  ASSERT_NO_FATAL_FAILURE(OpenFixture("v2.sql"));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto deltas, store_->OpenDeltas(kJob, 0, 1));
  std::string out;
  ASSERT_THAT(deltas->Read(0, 5, out), IsOk());
  EXPECT_EQ(out, "delta");
}

TEST_F(SqliteStoreTest, DeltasAreThereAfterReopeningAndTheirFilesAreSwept) {
  OpenWithJob();
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 1), 0), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 2), 1, "delta"), IsOk());
  store_.reset();
  dir_.Write(DeltaFile("unfinished"), "unfinished");
  TRIB_ASSERT_OK_AND_ASSIGN(store_, Open());
  EXPECT_FALSE(std::filesystem::exists(dir_.File(DeltaFile("unfinished"))));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto deltas, store_->OpenDeltas(kJob, 0, 1));
  EXPECT_EQ(deltas->size_bytes(), 5U);
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 3), 2), IsOk());
  ASSERT_THAT(store_->Prune(kJob, 3), IsOk());
  EXPECT_FALSE(std::filesystem::exists(dir_.File(DeltaFile("delta"))));
}

TEST_F(SqliteStoreTest, ADeltaIsOpenOnceHoweverManyReadIt) {
  OpenWithJob();
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 1), 0), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 2), 1, "delta"), IsOk());
  const auto deltas_open = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code error;
      const auto target = std::filesystem::read_symlink(entry.path(), error);
      if (target.string() == dir_.File(DeltaFile("delta"))) ++count;
    }
    return count;
  };
  {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto once, store_->OpenDeltas(kJob, 0, 1));
    TRIB_ASSERT_OK_AND_ASSIGN(const auto twice, store_->OpenDeltas(kJob, 0, 1));
    EXPECT_EQ(deltas_open(), 1);
  }
  EXPECT_EQ(deltas_open(), 0);
}

TEST_F(SqliteStoreTest, DeltaOfTheWrongSizeIsDataLossAndNamed) {
  OpenWithJob();
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 1), 0), IsOk());
  ASSERT_THAT(Publish(RandomParams(FlatLayout(100), 2), 1, "delta"), IsOk());
  dir_.Write(DeltaFile("delta"), "delt");
  EXPECT_THAT(store_->OpenDeltas(kJob, 0, 1),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(DeltaFile("delta"))));
}

TEST_F(SqliteStoreTest, NewerSchemaIsRefusedUntouched) {
  const std::string database = path_ + "/tributary.db";
  OpenWithJob();
  store_.reset();
  {
    TRIB_ASSERT_OK_AND_ASSIGN(const SqliteConnection db,
                              SqliteConnection::Open(database, absl::Seconds(1)));
    ASSERT_THAT(db.Execute("PRAGMA user_version = 99"), IsOk());
  }
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               AllOf(HasSubstr(database), HasSubstr("version 99"),
                                     HasSubstr(absl::StrCat("up to ", NewestSchemaVersion())))));
  TRIB_ASSERT_OK_AND_ASSIGN(const SqliteConnection db,
                            SqliteConnection::Open(database, absl::Seconds(1)));
  SqliteStatement version = db.Prepare("PRAGMA user_version");
  ASSERT_TRUE(version.Next());
  EXPECT_EQ(version.Integer(0), 99);
}

TEST_F(SqliteStoreTest, SomethingElseThanADatabaseIsDataLoss) {
  dir_.Write("data/tributary.db", std::string(4096, 'x'));
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("tributary.db")));
}

TEST_F(SqliteStoreTest, DamagedFileIsDataLossAndNamed) {
  OpenWithJob();
  const ParamVector model = RandomParams(FlatLayout(100), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const VersionRecord record, Publish(model, 0));
  const std::string file = FileOf(record.model_digest);
  const auto damaged = StatusIs(absl::StatusCode::kDataLoss, HasSubstr(file));

  std::string bytes = test::ReadFile(file);
  bytes[200] = static_cast<char>(bytes[200] ^ 4);
  ASSERT_THAT(WriteFileAtomically(file, bytes), IsOk());
  EXPECT_THAT(store_->LoadModel(kJob, 0), damaged);
  EXPECT_THAT(store_->ReadModel(kJob, 0, [](size_t, absl::Span<const float>) {}), damaged);
  ParamVector moment;
  EXPECT_THAT(store_->LoadState(kJob, 0, {{"m", &moment}}, {}), damaged);

  std::filesystem::resize_file(file, 399);
  EXPECT_THAT(store_->LoadModel(kJob, 0), damaged);
  EXPECT_THAT(store_->OpenModel(kJob, 0), damaged);
  std::filesystem::remove(file);
  EXPECT_THAT(store_->LoadModel(kJob, 0), damaged);
  EXPECT_THAT(store_->GetVersion(kJob, 0), IsOk());
}

TEST_F(SqliteStoreTest, FileCutShortUnderAnOpenReaderIsDataLoss) {
  OpenWithJob();
  TRIB_ASSERT_OK_AND_ASSIGN(const VersionRecord record,
                            Publish(RandomParams(FlatLayout(100), 1), 0));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<ModelReader> reader, store_->OpenModel(kJob, 0));
  std::filesystem::resize_file(FileOf(record.model_digest), 100);
  std::string out;
  EXPECT_THAT(reader->Read(0, 100, out), IsOk());
  EXPECT_THAT(reader->Read(0, 400, out), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(SqliteStoreTest, FilesOfUnfinishedPublicationsAreSweptAtOpening) {
  OpenWithJob();
  const ParamVector model = RandomParams(FlatLayout(100), 1);
  ASSERT_THAT(Publish(model, 0), IsOk());
  store_.reset();
  {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto files, ContentFiles::Open(path_ + "/params"));
    ASSERT_THAT(files->Put(RandomParams(FlatLayout(100), 2).values()), IsOk());
  }
  dir_.Write("data/params/0.tmp", "half");
  EXPECT_EQ(CountFiles(), 3U);
  TRIB_ASSERT_OK_AND_ASSIGN(store_, Open());
  EXPECT_EQ(CountFiles(), 1U);
  EXPECT_THAT(store_->LoadModel(kJob, 0), IsOkAndHolds(ParamsNear(model, 0)));
}

TEST_F(SqliteStoreTest, PruneRemovesExactlyTheFilesThatNothingNames) {
  OpenWithJob();
  const ParamVector twice = RandomParams(FlatLayout(10), 1);
  ASSERT_THAT(Publish(twice, 0), IsOk());
  EXPECT_EQ(CountFiles(), 1U);  // the model and the state are equal
  ASSERT_THAT(Publish(RandomParams(FlatLayout(10), 2), 1), IsOk());
  ASSERT_THAT(Publish(twice, 2), IsOk());
  EXPECT_EQ(CountFiles(), 2U);
  ASSERT_THAT(store_->Prune(kJob, 2), IsOk());
  EXPECT_EQ(CountFiles(), 2U);
  ASSERT_THAT(store_->Prune(kJob, 1), IsOk());
  EXPECT_EQ(CountFiles(), 1U);
  EXPECT_THAT(store_->LoadModel(kJob, 2), IsOkAndHolds(ParamsNear(twice, 0)));
}

TEST_F(SqliteStoreTest, FullDiskIsUnavailableAndPasses) {
  OpenWithJob();
  const ParamVector model = RandomParams(FlatLayout(1 << 20), 1);
  const std::vector<std::string> lines(4, std::string(1 << 20, 'x'));
  {
    const test::FileSizeLimit limit(2 << 20);
    EXPECT_THAT(Publish(model, 0), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("params/")));
    EXPECT_THAT(store_->AppendJournal(kJob, lines),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("database")));
  }
  EXPECT_EQ(CountFiles(), 0U);
  EXPECT_THAT(store_->ListVersions(kJob), IsOkAndHolds(SizeIs(0)));
  EXPECT_THAT(store_->ReadJournal(kJob), IsOkAndHolds(SizeIs(0)));
  EXPECT_THAT(Publish(model, 0), IsOk());
  EXPECT_THAT(store_->AppendJournal(kJob, lines), IsOk());
  EXPECT_THAT(store_->LoadModel(kJob, 0), IsOkAndHolds(ParamsNear(model, 0)));
}

}  // namespace
}  // namespace tributary
