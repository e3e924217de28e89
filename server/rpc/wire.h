// Values of the live host <-> messages of proto/tributary/v1. Nothing is decided here.
#ifndef TRIBUTARY_SERVER_RPC_WIRE_H_
#define TRIBUTARY_SERVER_RPC_WIRE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/live/live_types.h"
#include "server/store/delivery.h"
#include "tributary/v1/coordinator.pb.h"
#include "tributary/v1/operator.pb.h"

namespace tributary::wire {

void Put(absl::Duration duration, google::protobuf::Duration* out);
void Put(absl::Time time, google::protobuf::Timestamp* out);
// Negative and malformed durations are zero.
absl::Duration Get(const google::protobuf::Duration& duration);

void Put(const CheckInAnswer& answer, v1::CheckInResponse* out);
void Put(const UploadAnswer& answer, v1::UploadUpdateResponse* out);
void Put(const JobView& view, v1::Job* out);
void Put(const ClientView& view, v1::Client* out);
void Put(const VersionRecord& record, uint64_t bytes, v1::ModelVersion* out);
void Put(const JobId& job, const VersionRecord& record, const ParamLayout& layout,
         uint64_t total_bytes, v1::ModelHeader* out);

// InvalidArgument: an impossible layout, or one whose digest is not the one that came with it.
absl::StatusOr<LayoutPtr> Get(const v1::ParamLayout& layout);
// InvalidArgument: no SHA-256.
absl::StatusOr<FileDigest> Get(const v1::FileDigest& name);
// InvalidArgument: ids that cannot be, a layout that does not hold.
absl::StatusOr<UploadHeader> Get(const v1::UpdateHeader& header);

// What the client holds, if it takes deltas.
std::optional<HeldVersion> GetHeld(const v1::FetchModelRequest& request);
// Of the mask that the client holds, as it says.
std::optional<Xxh128> HeldMaskOf(const v1::FetchModelRequest& request);
void Put(const Xxh128& checksum, v1::Xxh128* out);

// InvalidArgument naming the field.
absl::Status CheckId(absl::string_view field, const std::string& value);

}  // namespace tributary::wire

#endif  // TRIBUTARY_SERVER_RPC_WIRE_H_
