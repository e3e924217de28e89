// Outbox: the update that this client has encoded and of which it does not know yet whether the
// server counts it. It leaves only when the server has said so: a process that dies in mid-upload
// sends the rest when it starts again, and trains nothing twice.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_OUTBOX_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_OUTBOX_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/connection.h"
#include "common/codec/error_feedback.h"
#include "common/ids.h"

namespace tributary::sdk {

struct OutgoingUpdate {
  UpdateHeader header;  // of training; total_bytes and xxh128 are the uploader's
  std::string job_name;
  std::shared_ptr<const std::string> payload;  // of a part of it a connection may be in hold still
  std::optional<Residual> residual;            // the job's, once the server has accepted the update
};

// There is one update at most: a client takes no work before it is settled. With a folder it is
// there, durable, from Put to Remove:
//
//   update                  length of the header (8 bytes, little-endian), the header as JSON, the
//                           payload, XXH3-128 of all before (low half, then high)
//   residual.safetensors    written before `update` and removed after it
//
// What is damaged or another client's is logged and removed. Thread-compatible.
class Outbox {
 public:
  // `directory` is created when it is first written to; empty: memory only.
  Outbox(std::string directory, ClientId client);

  // Null: there is none. Reads the folder on the first call.
  OutgoingUpdate* update();

  // A folder that cannot be written to is logged and done without.
  void Put(OutgoingUpdate update);
  void Remove();

 private:
  absl::Status Save() const;
  absl::StatusOr<OutgoingUpdate> Load() const;
  void RemoveFiles() const;
  std::string UpdatePath() const;
  std::string ResidualPath() const;

  const std::string directory_;
  const ClientId client_;
  bool looked_ = false;
  std::optional<OutgoingUpdate> update_;
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_OUTBOX_H_
