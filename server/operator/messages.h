// What the Operator service answers, as JSON for machines and in words for people.
#ifndef TRIBUTARY_SERVER_OPERATOR_MESSAGES_H_
#define TRIBUTARY_SERVER_OPERATOR_MESSAGES_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "nlohmann/json.hpp"
#include "tributary/v1/operator.pb.h"

namespace tributary::op {

// Field names as in operator.proto; digests in hex, times in RFC 3339, the spec as an object,
// absent values as null.
nlohmann::json ToJson(const v1::Job& job);
nlohmann::json ToJson(const v1::Evaluation& evaluation);
nlohmann::json ToJson(const v1::ModelVersion& version);
nlohmann::json ToJson(const v1::Client& client);

std::string StateName(v1::JobState state);  // "initialising", "running", …
std::string PhaseName(v1::JobPhase phase);  // "explore", "end_task", …
bool IsEnded(v1::JobState state);

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
std::string FormatTime(const google::protobuf::Timestamp& timestamp);  // UTC, to the second

int64_t LostUpdates(const v1::JobCounters& counters);  // over all causes

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_MESSAGES_H_
