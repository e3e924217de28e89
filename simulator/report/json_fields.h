// JsonFields: reads members of a JSON object that somebody else wrote. The first member that is
// missing or of a wrong type is remembered; everything read after it is empty.
//
//   JsonFields fields(line);
//   const int64_t id = fields.Integer("work_order");
//   const std::string client = fields.Text("client");
//   if (!fields.status().ok()) return fields.status();
//   // "work_order: found \"seven\"; must be an integer from 0"
#ifndef TRIBUTARY_SIMULATOR_REPORT_JSON_FIELDS_H_
#define TRIBUTARY_SIMULATOR_REPORT_JSON_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tributary::report {

// Thread-compatible.
class JsonFields {
 public:
  // `object` outlives this; anything but an object has no members.
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  int64_t Integer(const char* name);  // from 0: all that runs record are
  double Number(const char* name);
  std::string Text(const char* name);
  // Absent and null are nothing.
  std::optional<int64_t> OptionalInteger(const char* name);
  std::optional<double> OptionalNumber(const char* name);
  bool Flag(const char* name);                   // absent: false
  const nlohmann::json& List(const char* name);  // absent: an empty list

  // What was wrong in a member of a member.
  void Update(const absl::Status& status) { status_.Update(status); }
  // InvalidArgument: the first thing that was wrong.
  const absl::Status& status() const { return status_; }

 private:
  // The member, or null if it is absent.
  const nlohmann::json& Find(const char* name) const;
  void Refuse(const char* name, const nlohmann::json& found, absl::string_view allowed);

  const nlohmann::json& object_;
  absl::Status status_;
};

// The object in a file. NotFound: cannot be read. InvalidArgument: is no JSON object.
absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_JSON_FIELDS_H_
