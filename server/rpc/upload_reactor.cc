#include "server/rpc/upload_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/wire.h"

namespace tributary {

absl::Status ClientLoads::Add(const ClientId& client, int64_t bytes) {
  MutexLock lock(mu_);
  int64_t& now = bytes_[client];
  if (now > 0 && now + bytes > most_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat("client '", client.value(), "' has ", now,
                                                     " bytes in flight, at most ", most_bytes_));
  }
  now += bytes;
  return absl::OkStatus();
}

void ClientLoads::Remove(const ClientId& client, int64_t bytes) {
  MutexLock lock(mu_);
  const auto it = bytes_.find(client);
  if (it != bytes_.end() && (it->second -= bytes) <= 0) bytes_.erase(it);
}

UploadReactor::UploadReactor(grpc::CallbackServerContext* context,
                             v1::UploadUpdateResponse* response, const ServiceDeps* deps,
                             ByteBudget* budget, ClientLoads* loads)
    : context_(context), response_(response), deps_(deps), budget_(budget), loads_(loads) {
  StartRead(&request_);
  deps_->loop->Post([this] { WatchIdle(); });
}

void UploadReactor::OnReadDone(bool ok) {
  ++reads_;
  if (!ok) return End();
  if (stream_ == nullptr) return TakeHeader();
  TakeChunk();
}

void UploadReactor::TakeHeader() {
  if (!request_.has_header()) {
    return Answer(absl::InvalidArgumentError("the first message must be the header"));
  }
  auto header = wire::Get(request_.header());
  if (!header.ok()) return Answer(header.status());
  absl::Status allowed = CheckCaller(*context_, deps_->tls, {header->client.value()});
  if (allowed.ok()) allowed = loads_->Add(header->client, deps_->limits.max_chunk_bytes);
  if (!allowed.ok()) return Answer(allowed);
  client_ = header->client;
  deps_->loop->Post([this, header = *std::move(header)]() mutable {
    deps_->host->OpenUpload(std::move(header),
                            [this](absl::StatusOr<LiveHost::OpenedUpload> opened) {
                              if (!opened.ok()) return Answer(opened.status());
                              if (opened->answer) return Answer(*std::move(opened->answer));
                              stream_ = std::move(opened->stream);
                              ReadNext();
                            });
  });
}

// Only with a chunk's worth of the budget: until then the client is held back.
void UploadReactor::ReadNext() {
  budget_->Acquire(deps_->limits.max_chunk_bytes, [this] {
    holding_ = true;
    StartRead(&request_);
  });
}

void UploadReactor::TakeChunk() {
  if (!request_.has_chunk()) {
    return Answer(absl::InvalidArgumentError("a second header: what follows must be chunks"));
  }
  v1::Chunk& chunk = *request_.mutable_chunk();
  if (chunk.data().size() > static_cast<size_t>(deps_->limits.max_chunk_bytes)) {
    return Answer(absl::InvalidArgumentError(absl::StrCat("chunk.data: found ", chunk.data().size(),
                                                          " bytes, at most ",
                                                          deps_->limits.max_chunk_bytes)));
  }
  stream_->Append(chunk.offset(), std::move(*chunk.mutable_data()), chunk.xxh3(),
                  [this](const absl::Status& status) {
                    request_.Clear();
                    if (!status.ok()) return Answer(status);
                    holding_ = false;
                    budget_->Release(deps_->limits.max_chunk_bytes);
                    ReadNext();
                  });
}

void UploadReactor::End() {
  ended_ = true;
  if (stream_ == nullptr) {
    return Answer(absl::InvalidArgumentError("the stream ended before its header"));
  }
  deps_->loop->Post([this] {
    deps_->host->FinishUpload(
        stream_, [this](const absl::StatusOr<UploadAnswer>& answer) { Answer(answer); });
  });
}

void UploadReactor::Answer(const absl::StatusOr<UploadAnswer>& answer) {
  if (answer.ok()) wire::Put(*answer, response_);
  Finish(ToGrpc(answer.status()));
}

// Runs on the loop until OnDone's last task, which runs there too.
void UploadReactor::WatchIdle() {
  idle_timer_ = deps_->loop->PostAt(deps_->clock->Now() + deps_->limits.upload_idle,
                                    [this, seen = reads_.load()] {
                                      if (ended_) return;
                                      if (reads_ != seen) return WatchIdle();
                                      MutexLock lock(mu_);
                                      if (!done_) context_->TryCancel();
                                    });
}

void UploadReactor::OnDone() {
  {
    MutexLock lock(mu_);
    done_ = true;
  }
  if (holding_) budget_->Release(deps_->limits.max_chunk_bytes);
  if (!client_.empty()) loads_->Remove(client_, deps_->limits.max_chunk_bytes);
  deps_->loop->Post([this] {
    deps_->loop->Cancel(idle_timer_);
    delete this;
  });
}

}  // namespace tributary
