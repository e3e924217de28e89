// ExportStream: sends a job's exported files one after another, a chunk at a time: ExportJob.
// Chunks are read and hashed on the pool, one write is outstanding, and what all streams hold
// together is bounded by the budget.
#ifndef TRIBUTARY_SERVER_RPC_EXPORT_STREAM_H_
#define TRIBUTARY_SERVER_RPC_EXPORT_STREAM_H_

#include <deque>
#include <set>
#include <string>

#include "common/durable_file.h"
#include "server/rpc/service.h"
#include "tributary/v1/operator.pb.h"

namespace tributary {

class ExportStream final : public grpc::ServerWriteReactor<v1::ExportJobResponse> {
 public:
  ExportStream(const ServiceDeps* deps, ByteBudget* budget) : deps_(deps), budget_(budget) {}

  // Exactly one of these, once, from any thread.
  void Fail(const absl::Status& status) { Finish(ToGrpc(status)); }
  // Leaves out the kept files in `have`.
  void Send(JobExport made, const std::set<std::string>& have);

 private:
  struct Entry {
    std::string name;
    std::string text;  // of the file; or else:
    std::string path;
  };

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

  void Next();
  absl::Status OpenNextFile();
  absl::Status ReadChunk();

  const ServiceDeps* const deps_;
  ByteBudget* const budget_;
  std::deque<Entry> files_;  // the first is being sent once file_bytes_ is known
  bool open_ = false;        // its header was sent
  File file_;                // where it comes from disk
  uint64_t file_bytes_ = 0;
  uint64_t sent_ = 0;  // of them
  uint64_t held_ = 0;  // of the budget: the chunk being read or written
  v1::ExportJobResponse response_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_EXPORT_STREAM_H_
