// ChunkMessage: a message whose only field is a Chunk (tributary/v1/model.proto), without a copy of
// the data: gRPC sends them from the slice that they are in.
#ifndef TRIBUTARY_PROTO_CHUNK_MESSAGE_H_
#define TRIBUTARY_PROTO_CHUNK_MESSAGE_H_

#include <cstdint>

#include "google/protobuf/message_lite.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace tributary {

// As protobuf would write it, but for the order of the chunk's fields: `data` are the last. `field`
// is the number of the message's field.
grpc::ByteBuffer ChunkMessage(int field, uint64_t offset, uint64_t xxh3, const grpc::Slice& data);

// Any message in the same form: the header that goes before the chunks.
grpc::ByteBuffer WholeMessage(const google::protobuf::MessageLite& message);

}  // namespace tributary

#endif  // TRIBUTARY_PROTO_CHUNK_MESSAGE_H_
