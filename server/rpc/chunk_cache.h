// ChunkCache: messages on their way to clients, for the others who want the same ones: a version
// that has just been published is fetched by all at once, and each of its chunks is then read,
// hashed and put into a message once.
#ifndef TRIBUTARY_SERVER_RPC_CHUNK_CACHE_H_
#define TRIBUTARY_SERVER_RPC_CHUNK_CACHE_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "common/mutex.h"
#include "grpcpp/support/byte_buffer.h"

namespace tributary {

// Thread-safe. Holds the newest messages, up to `bytes` of them; what is being sent stays alive
// without it.
class ChunkCache {
 public:
  // What a chunk is a piece of, never another under the same name; and where it lies.
  using Key = std::tuple<std::string, uint64_t, uint64_t>;  // content, offset, length

  explicit ChunkCache(int64_t bytes) : limit_(bytes) {}

  std::optional<grpc::ByteBuffer> Find(const Key& key) const {
    MutexLock lock(mu_);
    for (const auto& [kept, message] : messages_) {
      if (kept == key) return message;
    }
    return std::nullopt;
  }

  void Put(Key key, const grpc::ByteBuffer& message) {
    MutexLock lock(mu_);
    bytes_ += static_cast<int64_t>(message.Length());
    messages_.emplace_front(std::move(key), message);
    while (bytes_ > limit_) {
      bytes_ -= static_cast<int64_t>(messages_.back().second.Length());
      messages_.pop_back();
    }
  }

 private:
  const int64_t limit_;
  mutable Mutex mu_;
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<std::pair<Key, grpc::ByteBuffer>> messages_ ABSL_GUARDED_BY(mu_);  // newest first
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_CHUNK_CACHE_H_
