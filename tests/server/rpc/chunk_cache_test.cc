#include "server/rpc/chunk_cache.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

grpc::ByteBuffer Message(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string TextOf(const grpc::ByteBuffer& message) {
  grpc::Slice slice;
  EXPECT_TRUE(message.DumpToSingleSlice(&slice).ok());
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

TEST(ChunkCacheTest, FindsWhatWasPutUnderItsWholeName) {
  ChunkCache cache(100);
  cache.Put({"job-1/3/0", 10, 5}, Message("abcde"));
  ASSERT_TRUE(cache.Find({"job-1/3/0", 10, 5}));
  EXPECT_EQ(TextOf(*cache.Find({"job-1/3/0", 10, 5})), "abcde");
  EXPECT_FALSE(cache.Find({"job-1/3/1", 10, 5}));
  EXPECT_FALSE(cache.Find({"job-1/3/0", 11, 5}));
  EXPECT_FALSE(cache.Find({"job-1/3/0", 10, 4}));
}

TEST(ChunkCacheTest, TheOldestLeaveAndWhatIsBeingSentStays) {
  ChunkCache cache(10);
  cache.Put({"v", 0, 5}, Message("aaaaa"));
  const auto sending = cache.Find({"v", 0, 5});
  cache.Put({"v", 5, 5}, Message("bbbbb"));
  EXPECT_TRUE(cache.Find({"v", 0, 5})) << "ten bytes are not too many";
  cache.Put({"v", 10, 1}, Message("c"));
  EXPECT_FALSE(cache.Find({"v", 0, 5}));
  EXPECT_TRUE(cache.Find({"v", 5, 5}));
  EXPECT_EQ(TextOf(*sending), "aaaaa");
  cache.Put({"v", 11, 11}, Message("ddddddddddd"));
  EXPECT_FALSE(cache.Find({"v", 11, 11})) << "larger than all there is room for";
}

TEST(ChunkCacheTest, ManyThreads) {
  ChunkCache cache(64);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache] {
      for (uint64_t i = 0; i < 500; ++i) {
        const ChunkCache::Key key("v", i % 16, 8);
        const auto found = cache.Find(key);
        if (found) {
          EXPECT_EQ(TextOf(*found), absl::StrCat(10'000'000 + i % 16));
        } else {
          cache.Put(key, Message(absl::StrCat(10'000'000 + i % 16)));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tributary
