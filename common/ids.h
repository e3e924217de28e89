// The names of things. Strings that cannot be mixed up at compile time, and plain
// integers where arithmetic is meant.
#ifndef TRIBUTARY_COMMON_IDS_H_
#define TRIBUTARY_COMMON_IDS_H_

#include <compare>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>

namespace tributary {

template <typename Tag>
class StringId {
 public:
  StringId() = default;
  explicit StringId(std::string value) : value_(std::move(value)) {}

  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }

  auto operator<=>(const StringId&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const StringId& id) {
    return H::combine(std::move(h), id.value_);
  }
  friend std::ostream& operator<<(std::ostream& out, const StringId& id) {
    return out << id.value_;
  }

 private:
  std::string value_;
};

// Letters, digits, '.', '_' and '-', 1 to 128 of them: safe as a file name, in a URL
// and in a log line. Check what comes from outside with IsValidId.
using JobId = StringId<struct JobTag>;
using ClientId = StringId<struct ClientTag>;

inline bool IsValidId(const std::string& value) {
  if (value.empty() || value.size() > 128 || value.front() == '.') return false;
  for (const char c : value) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

// Counts published models of a job: 0 is the initial model, +1 for each publication.
using Version = int64_t;
// Counts the work orders of a job from 1, in the order in which they were decided.
// That order is also the order of summation (docs/adr/0003).
using WorkOrderId = int64_t;
// A scheduler's name for a set of work orders that close together, unique in a job.
using GroupId = int64_t;

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_IDS_H_
