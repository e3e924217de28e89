#include "server/live/spool.h"

#include <filesystem>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "common/exhausted.h"
#include "common/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const JobId kJob("mnist");
const ClientId kClient("c");

class SpoolTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  // As after a crash: nothing of the old spool is told that it ends.
  void Reopen(SpoolLimits limits = {.total_bytes = 1000}) {
    spool_.reset();
    TRIB_ASSERT_OK_AND_ASSIGN(spool_, Spool::Open({.dir = dir_.path(),
                                                   .limits = limits,
                                                   .min_free_bytes = 100,
                                                   .free_bytes = [this] { return free_bytes_; }}));
  }

  void Upload(const JobId& job, WorkOrderId work_order, const std::string& payload,
              const std::string& header = "h") {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto upload,
                              spool_->Begin({job, work_order, kClient}, payload.size(), header));
    ASSERT_THAT(upload->Append(0, payload), IsOk());
    ASSERT_THAT(upload->Finish(), IsOk());
  }

  absl::StatusOr<std::string> ReadPayload(const JobId& job, WorkOrderId work_order) const {
    TRIB_ASSIGN_OR_RETURN(const File file, spool_->OpenPayload(job, work_order));
    TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
    std::string payload(size, '\0');
    TRIB_RETURN_IF_ERROR(file.ReadAt(0, payload.data(), size));
    return payload;
  }

  std::set<std::string> Files() const {
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      files.insert(entry.path().lexically_relative(dir_.path()).string());
    }
    return files;
  }

  test::TempDir dir_;
  absl::StatusOr<uint64_t> free_bytes_ = 1'000'000;
  std::unique_ptr<Spool> spool_;
};

TEST_F(SpoolTest, ChunksBecomeAPayload) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto upload, spool_->Begin({kJob, 7, kClient}, 10, "head"));
  EXPECT_EQ(upload->size(), 0U);
  ASSERT_THAT(upload->Append(0, "0123"), IsOk());
  EXPECT_EQ(upload->size(), 4U);
  EXPECT_EQ(upload->durable_bytes(), 0U);
  EXPECT_THAT(upload->Sync(), IsOkAndHolds(4U));
  ASSERT_THAT(upload->Append(4, ""), IsOk());
  ASSERT_THAT(upload->Append(4, std::string("\0\n89ab", 6)), IsOk());
  EXPECT_THAT(ReadPayload(kJob, 7), StatusIs(absl::StatusCode::kNotFound));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<Spool::Entry> entries, spool_->List());
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_FALSE(entries[0].complete);
  ASSERT_THAT(upload->Finish(), IsOk());
  EXPECT_EQ(upload->durable_bytes(), 10U);
  EXPECT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT(ReadPayload(kJob, 7), IsOkAndHolds(std::string("0123\0\n89ab", 10)));
  EXPECT_EQ(Files(), (std::set<std::string>{"mnist", "mnist/7.header", "mnist/7.update"}));
}

TEST_F(SpoolTest, OffsetMustBeTheEnd) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto upload, spool_->Begin({kJob, 1, kClient}, 10, "h"));
  ASSERT_THAT(upload->Append(0, "01234"), IsOk());
  for (const uint64_t wrong : {0, 4, 6}) {
    EXPECT_THAT(upload->Append(wrong, "x"),
                StatusIs(absl::StatusCode::kOutOfRange,
                         HasSubstr(absl::StrCat("expected 5, found ", wrong))));
  }
  EXPECT_THAT(upload->Append(5, "567890"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10 bytes")));
  EXPECT_THAT(upload->Finish(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("only 5 have arrived")));
  ASSERT_THAT(upload->Append(5, "56789"), IsOk());
  ASSERT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT(upload->Append(10, "x"), testing::Not(IsOk()));
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("0123456789"));
}

TEST_F(SpoolTest, EmptyPayloadIsAPayload) {
  Upload(kJob, 1, "");
  Reopen();
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds(""));
}

TEST_F(SpoolTest, GoesOnAfterARestart) {
  TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
  ASSERT_THAT(upload->Append(0, "01234"), IsOk());
  ASSERT_THAT(upload->Sync(), IsOk());
  upload.reset();
  Reopen();
  EXPECT_EQ(spool_->reserved_bytes(), 10U);
  TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
  EXPECT_EQ(upload->size(), 5U);
  EXPECT_EQ(upload->durable_bytes(), 5U);
  ASSERT_THAT(upload->Append(5, "56789"), IsOk());
  ASSERT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("0123456789"));
}

TEST_F(SpoolTest, StartsAgainWhenHeaderOrTotalDiffers) {
  for (const auto& [total, header] :
       std::vector<std::pair<uint64_t, std::string>>{{10, "tail"}, {11, "head"}, {10, ""}}) {
    TRIB_ASSERT_OK_AND_ASSIGN(auto first, spool_->Begin({kJob, 1, kClient}, 10, "head"));
    if (first->size() == 0) {
      ASSERT_THAT(first->Append(0, "01234"), IsOk());
    }
    Reopen();
    TRIB_ASSERT_OK_AND_ASSIGN(auto second, spool_->Begin({kJob, 1, kClient}, total, header));
    EXPECT_EQ(second->size(), 0U) << total << " " << header;
    EXPECT_EQ(spool_->reserved_bytes(), total);
    ASSERT_THAT(spool_->Remove(kJob, 1), IsOk());
  }
}

TEST_F(SpoolTest, GoesOnAfterAKillAlsoFromWhatWasNotSynced) {
  TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
  ASSERT_THAT(upload->Append(0, "01234"), IsOk());
  ASSERT_THAT(upload->Sync(), IsOk());
  ASSERT_THAT(upload->Append(5, "56"), IsOk());
  upload.reset();
  Reopen();
  TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
  EXPECT_EQ(upload->size(), 7U);
  EXPECT_EQ(upload->durable_bytes(), 7U);
  ASSERT_THAT(upload->Append(7, "789"), IsOk());
  ASSERT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("0123456789"));
}

TEST_F(SpoolTest, AFileOfAnotherSizeIsNotGoneOnWith) {
  for (const uintmax_t left : {0, 3, 11}) {
    TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
    ASSERT_THAT(upload->Append(0, "01234"), IsOk());
    ASSERT_THAT(upload->Sync(), IsOk());
    upload.reset();
    spool_.reset();
    std::filesystem::resize_file(dir_.File("mnist/1.upload"), left);
    for (int restart = 0; restart < 2; ++restart) {
      Reopen();
      TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 1, kClient}, 10, "head"));
      EXPECT_EQ(upload->size(), 0U);
      upload.reset();
    }
    ASSERT_THAT(spool_->Remove(kJob, 1), IsOk());
  }
}

// ---- spare files -----------------------------------------------------------------------

constexpr size_t kLarge = 1 << 20;

class SpareFileTest : public SpoolTest {
 protected:
  static constexpr SpoolLimits kLimits{.total_bytes = 4 * kLarge};

  void SetUp() override {
    free_bytes_ = uint64_t{100} * kLarge;
    Reopen(kLimits);
  }
  void UploadAndRemove(WorkOrderId id, size_t bytes) {
    Upload(kJob, id, std::string(bytes, 'x'));
    ASSERT_THAT(spool_->Remove(kJob, id), IsOk());
  }
};

TEST_F(SpareFileTest, ALargePayloadsFileBecomesTheNextUploads) {
  for (const size_t bytes : {kLarge, kLarge + 5, 3 * kLarge, size_t{10}}) {
    UploadAndRemove(1, kLarge);
    ASSERT_EQ(Files(), (std::set<std::string>{"mnist", "mnist/1.spare"}));
    const std::string payload(bytes, 'y');
    Upload(kJob, 2, payload);
    EXPECT_EQ(Files(), (std::set<std::string>{"mnist", "mnist/2.header", "mnist/2.update"}));
    EXPECT_THAT(ReadPayload(kJob, 2), IsOkAndHolds(payload));
    ASSERT_THAT(spool_->RemoveJob(kJob), IsOk());
    EXPECT_THAT(Files(), IsEmpty());
  }
}

// What the spare held before is never taken for what has arrived.
TEST_F(SpareFileTest, OldBytesDoNotCountAfterARestart) {
  for (const std::string arrived : {"", "yyy"}) {
    UploadAndRemove(1, kLarge);
    TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 2, kClient}, kLarge, "h"));
    EXPECT_EQ(upload->size(), 0U);
    ASSERT_THAT(upload->Append(0, arrived), IsOk());
    upload.reset();
    Reopen(kLimits);
    TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 2, kClient}, kLarge, "h"));
    EXPECT_EQ(upload->size(), arrived.size());
    ASSERT_THAT(upload->Append(upload->size(), std::string(kLarge - upload->size(), 'y')), IsOk());
    ASSERT_THAT(upload->Finish(), IsOk());
    EXPECT_THAT(ReadPayload(kJob, 2), IsOkAndHolds(std::string(kLarge, 'y')));
    ASSERT_THAT(spool_->RemoveJob(kJob), IsOk());
  }
}

TEST_F(SpareFileTest, SparesGoWhenTheDiskLacksRoomAndAtARestart) {
  UploadAndRemove(1, kLarge);
  free_bytes_ = 99;
  EXPECT_THAT(spool_->FreeBytes(), IsOkAndHolds(99U));
  EXPECT_EQ(Files(), std::set<std::string>{"mnist"});
  free_bytes_ = uint64_t{100} * kLarge;
  UploadAndRemove(2, kLarge);
  EXPECT_THAT(spool_->FreeBytes(), IsOk());
  EXPECT_THAT(spool_->FreeBytes(uint64_t{99} * kLarge), IsOk());
  EXPECT_TRUE(Files().contains("mnist/2.spare"));
  EXPECT_THAT(spool_->FreeBytes(uint64_t{100} * kLarge), IsOk());
  EXPECT_FALSE(Files().contains("mnist/2.spare"));
  UploadAndRemove(3, kLarge);
  Reopen(kLimits);
  EXPECT_FALSE(Files().contains("mnist/3.spare"));
}

TEST_F(SpareFileTest, SparesAndUploadsKeepToTheSpoolsLimit) {
  for (const WorkOrderId id : {1, 2, 3, 4}) Upload(kJob, id, std::string(kLarge, 'x'));
  EXPECT_EQ(spool_->reserved_bytes(), 4 * kLarge);
  ASSERT_THAT(spool_->Remove(kJob, 1), IsOk());
  ASSERT_THAT(spool_->Remove(kJob, 2), IsOk());
  EXPECT_EQ(spool_->reserved_bytes(), 2 * kLarge);
  Upload(kJob, 5, std::string(2 * kLarge, 'x'));
  EXPECT_EQ(spool_->reserved_bytes(), 4 * kLarge) << "spares take no quota from uploads";
  for (const std::string& file : Files()) EXPECT_FALSE(file.ends_with(".spare")) << file;
}

TEST_F(SpoolTest, LaterBeginTakesOver) {
  TRIB_ASSERT_OK_AND_ASSIGN(auto stale, spool_->Begin({kJob, 1, kClient}, 4, "h"));
  ASSERT_THAT(stale->Append(0, "ab"), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto current, spool_->Begin({kJob, 1, kClient}, 4, "h"));
  EXPECT_EQ(current->size(), 2U);
  const auto aborted = StatusIs(absl::StatusCode::kAborted, HasSubstr("taken over"));
  EXPECT_THAT(stale->Append(2, "xx"), aborted);
  EXPECT_THAT(stale->Sync(), aborted);
  EXPECT_THAT(stale->Finish(), aborted);
  stale.reset();
  ASSERT_THAT(current->Append(2, "cd"), IsOk());
  ASSERT_THAT(current->Finish(), IsOk());
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("abcd"));
}

TEST_F(SpoolTest, CompleteUploadIsNotBegunAgain) {
  Upload(kJob, 1, "abc");
  const auto exists = StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("complete"));
  EXPECT_THAT(spool_->Begin({kJob, 1, kClient}, 3, "h"), exists);
  EXPECT_THAT(spool_->Begin({kJob, 1, kClient}, 0, "other"), exists);
  EXPECT_EQ(spool_->reserved_bytes(), 3U);
  Reopen();
  EXPECT_THAT(spool_->Begin({kJob, 1, kClient}, 3, "h"), exists);
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("abc"));
}

TEST_F(SpoolTest, QuotaCountsDeclaredBytesUntilTheyAreRemoved) {
  Upload(kJob, 1, std::string(600, 'x'));
  const auto full = StatusIs(absl::StatusCode::kResourceExhausted,
                             AllOf(HasSubstr("401 bytes"), HasSubstr("600 taken of 1000")));
  EXPECT_THAT(spool_->Begin({kJob, 2, kClient}, 401, "h"), full);
  EXPECT_THAT(spool_->Begin({kJob, 2, kClient}, ~uint64_t{0}, "h"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  Reopen();
  EXPECT_THAT(spool_->Begin({kJob, 2, kClient}, 401, "h"), full);
  TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 2, kClient}, 400, "h"));
  EXPECT_EQ(spool_->reserved_bytes(), 1000U);
  TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 2, kClient}, 400, "h"));  // counted once
  EXPECT_THAT(spool_->Begin({kJob, 3, kClient}, 1, "h"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_THAT(spool_->Remove(kJob, 1), IsOk());
  EXPECT_EQ(spool_->reserved_bytes(), 400U);
  EXPECT_THAT(spool_->Begin({kJob, 3, kClient}, 600, "h"), IsOk());
}

// What a Begin ran into: the name of the limit, or nothing.
std::string Full(const absl::StatusOr<std::unique_ptr<UploadFile>>& begun) {
  EXPECT_EQ(begun.ok(), ExhaustedOf(begun.status()).empty()) << begun.status();
  return ExhaustedOf(begun.status());
}

TEST_F(SpoolTest, JobsAndClientsHaveTheirShares) {
  const JobId other_job("cifar");
  const ClientId other_client("d");
  Reopen({.total_bytes = 1100, .bytes_per_job = 600, .bytes_per_client = 500});
  Upload(kJob, 1, std::string(400, 'x'));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Full(spool_->Begin({other_job, 1, kClient}, 101, "h")), "client");
    EXPECT_EQ(Full(spool_->Begin({kJob, 2, other_client}, 201, "h")), "job");
    Reopen({.total_bytes = 1100, .bytes_per_job = 600, .bytes_per_client = 500});
  }
  EXPECT_THAT(spool_->Begin({kJob, 2, other_client}, 201, "h"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("'mnist'"), HasSubstr("201 bytes beside 400 taken of 600"),
                             HasSubstr("limits.spool_bytes_per_job"))));
  EXPECT_EQ(Full(spool_->Begin({other_job, 1, kClient}, 100, "h")), "");
  EXPECT_EQ(Full(spool_->Begin({kJob, 2, other_client}, 200, "h")), "");
  EXPECT_EQ(Full(spool_->Begin({other_job, 2, other_client}, 301, "h")), "client");
  EXPECT_EQ(Full(spool_->Begin({other_job, 2, ClientId("e")}, 401, "h")), "spool");
  // An upload that begins again with another size gives up its old share, if it gets the new one.
  EXPECT_EQ(Full(spool_->Begin({kJob, 2, other_client}, 201, "h2")), "job");
  EXPECT_EQ(spool_->reserved_bytes(), 700U);
  EXPECT_EQ(Full(spool_->Begin({kJob, 2, other_client}, 10, "h2")), "");
  EXPECT_EQ(spool_->reserved_bytes(), 510U);
  ASSERT_THAT(spool_->RemoveJob(kJob), IsOk());
  EXPECT_EQ(Full(spool_->Begin({kJob, 3, kClient}, 400, "h")), "");
}

TEST_F(SpoolTest, AnUploadThatCanNeverFitIsToldApart) {
  Reopen({.total_bytes = 1000, .bytes_per_job = 600, .bytes_per_client = 500});
  EXPECT_THAT(spool_->CheckSize(500), IsOk());
  const auto never = [](const char* limit) {
    return StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(limit));
  };
  EXPECT_THAT(spool_->CheckSize(501), never("at most 500 can ever be taken"));
  EXPECT_THAT(spool_->CheckSize(501), never("limits.spool_bytes_per_client"));
  EXPECT_THAT(spool_->CheckSize(601), never("limits.spool_bytes_per_job"));
  EXPECT_THAT(spool_->CheckSize(1001), never("limits.spool_bytes)"));
}

TEST_F(SpoolTest, NothingBeginsThatWouldFillTheDisk) {
  free_bytes_ = 199;
  EXPECT_EQ(Full(spool_->Begin({kJob, 1, kClient}, 100, "h")), "disk");
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_EQ(spool_->reserved_bytes(), 0U);
  free_bytes_ = 200;
  TRIB_ASSERT_OK_AND_ASSIGN(auto upload, spool_->Begin({kJob, 1, kClient}, 100, "h"));
  ASSERT_THAT(upload->Append(0, "abc"), IsOk());
  free_bytes_ = 99;  // below the limit nothing goes on; what is there stays
  EXPECT_EQ(Full(spool_->Begin({kJob, 1, kClient}, 100, "h")), "disk");
  free_bytes_ = 100;  // the rest has its room already
  TRIB_ASSERT_OK_AND_ASSIGN(upload, spool_->Begin({kJob, 1, kClient}, 100, "h"));
  EXPECT_EQ(upload->size(), 3U);
  free_bytes_ = absl::UnavailableError("no such disk");
  EXPECT_THAT(spool_->Begin({kJob, 2, kClient}, 1, "h"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SpoolTest, TheDiskKeepsRoomForTheRest) {
  constexpr uint64_t kTotal = 1 << 20;
  Reopen({});
  free_bytes_ = 2 * kTotal;
  TRIB_ASSERT_OK_AND_ASSIGN(const auto upload, spool_->Begin({kJob, 1, kClient}, kTotal, "h"));
  if (DiskBytesOf(dir_.File("mnist/1.upload")) == 0) GTEST_SKIP() << "not on this file system";
  EXPECT_GE(DiskBytesOf(dir_.File("mnist/1.upload")), kTotal);
}

TEST_F(SpoolTest, ListsUploadsInOrderAfterARestart) {
  Upload(JobId("b"), 2, "xyz", std::string("bin\0ary", 7));
  Upload(JobId("a"), 10, "x", "ten");
  Upload(JobId("a"), 9, "xy", "nine");
  TRIB_ASSERT_OK_AND_ASSIGN(auto partial, spool_->Begin({JobId("a"), 11, kClient}, 5, "h"));
  Reopen();
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<Spool::Entry> entries, spool_->List());
  ASSERT_EQ(entries.size(), 4U);
  EXPECT_EQ(entries[0].owner.job, JobId("a"));
  EXPECT_EQ(entries[0].owner.work_order, 9);
  EXPECT_EQ(entries[0].header, "nine");
  EXPECT_EQ(entries[0].total_bytes, 2U);
  EXPECT_EQ(entries[1].owner.work_order, 10);
  EXPECT_TRUE(entries[1].complete);
  EXPECT_EQ(entries[2].owner.work_order, 11);
  EXPECT_FALSE(entries[2].complete);
  EXPECT_EQ(entries[3].owner.job, JobId("b"));
  EXPECT_EQ(entries[3].owner.client, kClient);
  EXPECT_EQ(entries[3].header, std::string("bin\0ary", 7));
}

TEST_F(SpoolTest, RestartRemovesWhatIsOfNoUse) {
  Upload(kJob, 1, "abc");
  dir_.Write("mnist/2.header.tmp", "torn");
  dir_.Write("mnist/3.header", std::string(8, '\0'));  // died before the upload's file
  dir_.Write("mnist/4.upload", "no header");
  dir_.Write("mnist/5.header", std::string(8, '\0') + "\7short");
  dir_.Write("mnist/5.upload", "with a short header");
  dir_.Write("other/1.update", "no header");
  Reopen();
  EXPECT_EQ(Files(), (std::set<std::string>{"mnist", "mnist/1.header", "mnist/1.update"}));
  EXPECT_EQ(spool_->reserved_bytes(), 3U);
}

TEST_F(SpoolTest, PayloadOfAnotherSizeIsDataLoss) {
  Upload(kJob, 1, "abc");
  std::filesystem::resize_file(dir_.File("mnist/1.update"), 2);
  EXPECT_THAT(ReadPayload(kJob, 1), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("1.update")));
}

TEST_F(SpoolTest, RemoveForgetsAnyUpload) {
  Upload(kJob, 1, "abc");
  TRIB_ASSERT_OK_AND_ASSIGN(const auto partial, spool_->Begin({kJob, 2, kClient}, 5, "h"));
  EXPECT_THAT(spool_->Remove(kJob, 1), IsOk());
  EXPECT_THAT(spool_->Remove(kJob, 1), IsOk());
  EXPECT_THAT(spool_->Remove(kJob, 2), IsOk());
  EXPECT_THAT(partial->Append(0, "x"), StatusIs(absl::StatusCode::kAborted, HasSubstr("removed")));
  EXPECT_EQ(spool_->reserved_bytes(), 0U);
  EXPECT_THAT(ReadPayload(kJob, 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Files(), std::set<std::string>{"mnist"});
  Upload(kJob, 1, "again");
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("again"));
}

TEST_F(SpoolTest, RemoveJobLeavesTheOthers) {
  Upload(JobId("a"), 1, "x");
  Upload(JobId("a"), 2, "y");
  Upload(JobId("b"), 1, "z");
  EXPECT_THAT(spool_->RemoveJob(JobId("a")), IsOk());
  EXPECT_THAT(spool_->RemoveJob(JobId("a")), IsOk());
  EXPECT_THAT(spool_->RemoveJob(JobId("..")), IsOk());
  EXPECT_EQ(Files(), (std::set<std::string>{"b", "b/1.header", "b/1.update"}));
}

TEST_F(SpoolTest, AKeptPayloadLeavesTheSpool) {
  const test::TempDir kept;
  Upload(kJob, 1, "payload");
  TRIB_ASSERT_OK_AND_ASSIGN(const auto partial, spool_->Begin({kJob, 2, kClient}, 10, "h"));
  EXPECT_THAT(spool_->Keep(kJob, 1, kept.File("1.update")), IsOk());
  EXPECT_EQ(test::ReadFile(kept.File("1.update")), "payload");
  EXPECT_THAT(ReadPayload(kJob, 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(spool_->reserved_bytes(), 10U);
  EXPECT_EQ(Files(), (std::set<std::string>{"mnist", "mnist/2.header", "mnist/2.upload"}));
  // Again, one that is not complete, and one that never was: nothing to keep.
  for (const WorkOrderId id : {1, 2, 3}) {
    EXPECT_THAT(spool_->Keep(kJob, id, kept.File("other")), IsOk());
  }
  EXPECT_FALSE(std::filesystem::exists(kept.File("other")));
  EXPECT_THAT(partial->Append(0, "x"), IsOk());
}

TEST_F(SpoolTest, APayloadThatCannotBeKeptStays) {
  Upload(kJob, 1, "payload");
  EXPECT_THAT(spool_->Keep(kJob, 1, "/no/such/folder/1.update"),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadPayload(kJob, 1), IsOkAndHolds("payload"));
}

TEST_F(SpoolTest, RefusesNamesThatAreNotIds) {
  for (const char* name : {"", "..", ".", "a/b", "../../etc", ".hidden"}) {
    EXPECT_THAT(spool_->Begin({JobId(name), 1, kClient}, 1, "h"),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  for (const WorkOrderId id : {0, -1}) {
    EXPECT_THAT(spool_->Begin({kJob, id, kClient}, 1, "h"),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, ThreadsUploadAndRemoveSideBySide) {
  Reopen({.total_bytes = 1 << 20});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (WorkOrderId id = 1; id <= 10; ++id) {
        const JobId job(absl::StrCat("j", t % 2));  // two threads compete for each upload
        auto upload = spool_->Begin({job, id, kClient}, 4, "h");
        if (!upload.ok()) {
          EXPECT_THAT(upload, StatusIs(absl::StatusCode::kAlreadyExists));
          continue;
        }
        const absl::Status appended = (*upload)->Append((*upload)->size(), "abcd");
        if (appended.ok()) (*upload)->Finish().IgnoreError();
        EXPECT_THAT(spool_->List(), IsOk());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const char* job : {"j0", "j1"}) {
    for (WorkOrderId id = 1; id <= 10; ++id) {
      auto upload = spool_->Begin({JobId(job), id, kClient}, 4, "h");
      if (upload.ok()) {  // the thread that took over found all bytes there, and could add none
        EXPECT_EQ((*upload)->size(), 4U);
        EXPECT_THAT((*upload)->Finish(), IsOk());
      }
      EXPECT_THAT(ReadPayload(JobId(job), id), IsOkAndHolds("abcd"));
    }
    EXPECT_THAT(spool_->RemoveJob(JobId(job)), IsOk());
  }
  EXPECT_EQ(spool_->reserved_bytes(), 0U);
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace tributary
