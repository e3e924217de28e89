#include "proto/chunk_message.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tributary/v1/coordinator.pb.h"

namespace tributary {
namespace {

std::string BytesOf(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

TEST(ChunkMessageTest, IsWhatProtobufReads) {
  for (const size_t size : {0, 1, 127, 128, 16'383, 16'384, 1 << 20}) {
    const std::string data(size, 'x');
    for (const uint64_t offset : {uint64_t{0}, uint64_t{300}, uint64_t{1} << 40}) {
      v1::UploadUpdateRequest upload;
      ASSERT_TRUE(upload.ParseFromString(BytesOf(
          ChunkMessage(v1::UploadUpdateRequest::kChunkFieldNumber, offset, 77, grpc::Slice(data)))))
          << size;
      EXPECT_EQ(upload.chunk().offset(), offset);
      EXPECT_EQ(upload.chunk().xxh3(), 77);
      EXPECT_EQ(upload.chunk().data(), data);
      EXPECT_EQ(upload.ByteSizeLong(), ChunkMessage(v1::UploadUpdateRequest::kChunkFieldNumber,
                                                    offset, 77, grpc::Slice(data))
                                               .Length() -
                                           (size == 0 ? 2 : 0))
          << "protobuf leaves empty data out";
      v1::FetchModelResponse fetch;
      ASSERT_TRUE(fetch.ParseFromString(BytesOf(
          ChunkMessage(v1::FetchModelResponse::kChunkFieldNumber, offset, 77, grpc::Slice(data)))));
      EXPECT_EQ(fetch.chunk().data(), data);
    }
  }
}

TEST(ChunkMessageTest, TheDataAreNotCopied) {
  const std::string data(1000, 'x');
  const grpc::Slice slice(data.data(), data.size(), grpc::Slice::STATIC_SLICE);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(ChunkMessage(2, 0, 0, slice).Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2);
  EXPECT_EQ(reinterpret_cast<const char*>(slices[1].begin()), data.data());
}

}  // namespace
}  // namespace tributary
