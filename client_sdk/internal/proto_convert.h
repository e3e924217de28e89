// The wire's messages (proto/tributary/v1) to and from the plain values of connection.h.
// Answers are checked here: a server's mistake becomes a Status, never undefined behaviour.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_PROTO_CONVERT_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_PROTO_CONVERT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client_sdk/connection.h"
#include "tributary/v1/coordinator.pb.h"

namespace tributary::sdk {

void ToProto(absl::Duration duration, google::protobuf::Duration* out);
absl::Duration FromProto(const google::protobuf::Duration& duration);

void ToProto(const ParamLayout& layout, v1::ParamLayout* out);
// InvalidArgument: not a layout, or not the one that its digest names.
absl::StatusOr<LayoutPtr> FromProto(const v1::ParamLayout& layout);

ServerLimits FromProto(const v1::EnrollResponse& response);
// Unimplemented: an answer or a kind of work that this client does not know. InvalidArgument:
// an id or a number that cannot be.
absl::StatusOr<CheckInAnswer> FromProto(const v1::CheckInResponse& response);
absl::StatusOr<ModelHeader> FromProto(const v1::FetchModelHeader& header);

void ToProto(const UpdateHeader& header, v1::UpdateHeader* out);
absl::StatusOr<UploadAnswer> FromProto(const v1::UploadUpdateResponse& response);
void ToProto(const EvaluationReport& report, v1::ReportEvaluationRequest* out);
v1::AbandonWorkRequest::Reason ToProto(AbandonReason reason);

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_PROTO_CONVERT_H_
