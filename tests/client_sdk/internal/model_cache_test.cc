#include "client_sdk/internal/model_cache.h"

#include <filesystem>
#include <fstream>
#include <memory>

#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/temp_dir.h"

namespace tributary::sdk {
namespace {

using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::TempDir;
using ::tributary::test::TinyLayout;

const JobId kJob("job-1");

HeldModel Model(Version version, const JobId& job = kJob) {
  auto params = std::make_shared<const ParamVector>(
      RandomParams(TinyLayout(), static_cast<uint64_t>(version)));
  return {job, version, params->ComputeDigest(), params};
}

Version FoundVersion(ModelCache& cache, const JobId& job, Version version) {
  const HeldModel* const found = cache.Find(job, version);
  return found == nullptr ? -1 : found->version;
}

TEST(ModelCacheTest, FindsTheVersionElseTheNewestOfTheJob) {
  ModelCache cache(3, "");
  EXPECT_EQ(cache.Find(kJob, 1), nullptr);
  cache.Put(Model(5));
  cache.Put(Model(3));
  cache.Put(Model(9, JobId("other")));
  EXPECT_EQ(FoundVersion(cache, kJob, 3), 3);
  EXPECT_EQ(FoundVersion(cache, kJob, 5), 5);
  EXPECT_EQ(FoundVersion(cache, kJob, 4), 5);
  EXPECT_EQ(FoundVersion(cache, JobId("third"), 9), -1);
}

TEST(ModelCacheTest, ForgetsTheOneThatWasNotUsedForLongest) {
  ModelCache cache(2, "");
  cache.Put(Model(1));
  cache.Put(Model(2));
  EXPECT_EQ(FoundVersion(cache, kJob, 1), 1);
  cache.Put(Model(3));
  EXPECT_EQ(FoundVersion(cache, kJob, 1), 1);
  EXPECT_EQ(FoundVersion(cache, kJob, 2), 3);
}

TEST(ModelCacheTest, MakesRoomWithoutTheOneFoundLast) {
  ModelCache cache(3, "");
  for (const Version version : {1, 2, 3}) cache.Put(Model(version));
  EXPECT_EQ(FoundVersion(cache, kJob, 1), 1);
  cache.MakeRoom();
  EXPECT_EQ(FoundVersion(cache, kJob, 2), 3) << "2 was used longest ago";
  EXPECT_EQ(FoundVersion(cache, kJob, 1), 1);

  ModelCache one(1, "");
  one.Put(Model(1));
  one.MakeRoom();
  EXPECT_EQ(FoundVersion(one, kJob, 1), 1);
}

TEST(ModelCacheTest, PuttingAVersionAgainReplacesIt) {
  ModelCache cache(2, "");
  cache.Put(Model(1));
  cache.Put(Model(2));
  HeldModel replaced = Model(7);
  replaced.version = 1;
  cache.Put(replaced);
  EXPECT_EQ(cache.Find(kJob, 1)->digest, replaced.digest);
  EXPECT_EQ(FoundVersion(cache, kJob, 2), 2);
}

TEST(ModelCacheTest, TheNewestModelOfEachJobOutlivesTheProcess) {
  const TempDir dir;
  const std::string folder = dir.File("made/on/demand");
  {
    ModelCache cache(2, folder);
    cache.Put(Model(5));
    cache.Put(Model(4));  // not the newest
    cache.Put(Model(8, JobId("other")));
  }
  ModelCache cache(2, folder);
  const HeldModel* const found = cache.Find(kJob, 6);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->version, 5);
  EXPECT_EQ(found->digest, Model(5).digest);
  EXPECT_THAT(*found->params, ParamsNear(*Model(5).params, 0));
  EXPECT_EQ(found->params->layout()->digest(), TinyLayout()->digest());
  EXPECT_EQ(FoundVersion(cache, JobId("other"), 8), 8);
}

TEST(ModelCacheTest, AFileThatIsNotWhatItSaysIsNotUsed) {
  const TempDir dir;
  ModelCache(2, dir.path()).Put(Model(5));
  const std::string path = dir.File("job-1.safetensors");
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path));
  for (const std::streamoff at : {std::streamoff{0}, std::streamoff{20}, size - 1}) {
    ModelCache(2, dir.path()).Put(Model(5));
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const char byte = static_cast<char>(file.get() ^ 0x20);
      file.seekp(at);
      file.put(byte);
    }
    ModelCache cache(2, dir.path());
    EXPECT_EQ(cache.Find(kJob, 5), nullptr) << "byte " << at;
  }
  std::filesystem::resize_file(path, 30);
  ModelCache cache(2, dir.path());
  EXPECT_EQ(cache.Find(kJob, 5), nullptr);
}

TEST(ModelCacheTest, AFolderThatCannotBeMadeCostsOnlyTheDisk) {
  const TempDir dir;
  const std::string file = dir.Write("file", "x");
  ModelCache cache(2, file + "/below");
  cache.Put(Model(5));
  EXPECT_EQ(FoundVersion(cache, kJob, 5), 5);
}

}  // namespace
}  // namespace tributary::sdk
