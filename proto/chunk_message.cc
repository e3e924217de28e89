#include "proto/chunk_message.h"

#include <array>
#include <string>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"
#include "tributary/v1/model.pb.h"

namespace tributary {
namespace {

void AppendLength(int field, size_t length, std::string& out) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.WriteTag(WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  coded.WriteVarint32(static_cast<uint32_t>(length));
}

}  // namespace

grpc::ByteBuffer ChunkMessage(int field, uint64_t offset, uint64_t xxh3, const grpc::Slice& data) {
  v1::Chunk fields;
  fields.set_offset(offset);
  fields.set_xxh3(xxh3);
  std::string inner = fields.SerializeAsString();
  AppendLength(v1::Chunk::kDataFieldNumber, data.size(), inner);
  std::string head;
  AppendLength(field, inner.size() + data.size(), head);
  const std::array<grpc::Slice, 2> slices = {grpc::Slice(head + inner), data};
  return {slices.data(), slices.size()};
}

grpc::ByteBuffer WholeMessage(const google::protobuf::MessageLite& message) {
  const grpc::Slice bytes(message.SerializeAsString());
  return {&bytes, 1};
}

}  // namespace tributary
