#include "simulator/report/json_fields.h"

#include <fstream>

#include "absl/strings/str_cat.h"

namespace tributary::report {

using Json = nlohmann::json;

const Json& JsonFields::Find(const char* name) const {
  static const Json kAbsent;
  if (!object_.is_object()) return kAbsent;
  const auto it = object_.find(name);
  return it == object_.end() ? kAbsent : *it;
}

void JsonFields::Refuse(const char* name, const Json& found, absl::string_view allowed) {
  if (!status_.ok()) return;
  const std::string what =
      found.is_null() ? "nothing" : found.dump(-1, ' ', true, Json::error_handler_t::replace);
  status_ = absl::InvalidArgumentError(
      absl::StrCat(name, ": found ", what.substr(0, 80), "; must be ", allowed));
}

int64_t JsonFields::Integer(const char* name) {
  const Json& found = Find(name);
  if (found.is_number_integer() && found.get<int64_t>() >= 0) return found.get<int64_t>();
  Refuse(name, found, "an integer from 0");
  return 0;
}

double JsonFields::Number(const char* name) {
  const Json& found = Find(name);
  if (found.is_number()) return found.get<double>();
  Refuse(name, found, "a number");
  return 0;
}

std::string JsonFields::Text(const char* name) {
  const Json& found = Find(name);
  if (found.is_string()) return found.get<std::string>();
  Refuse(name, found, "a string");
  return "";
}

std::optional<int64_t> JsonFields::OptionalInteger(const char* name) {
  if (Find(name).is_null()) return std::nullopt;
  return Integer(name);
}

std::optional<double> JsonFields::OptionalNumber(const char* name) {
  if (Find(name).is_null()) return std::nullopt;
  return Number(name);
}

bool JsonFields::Flag(const char* name) {
  const Json& found = Find(name);
  if (found.is_boolean()) return found.get<bool>();
  if (!found.is_null()) Refuse(name, found, "true or false");
  return false;
}

const Json& JsonFields::List(const char* name) {
  static const Json kEmpty = Json::array();
  const Json& found = Find(name);
  if (found.is_array()) return found;
  if (!found.is_null()) Refuse(name, found, "a list");
  return kEmpty;
}

absl::StatusOr<Json> ReadJsonObject(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  Json object = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  }
  return object;
}

}  // namespace tributary::report
