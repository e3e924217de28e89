#include "server/live/spool_quota.h"

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

template <typename Id>
uint64_t TakenBy(const std::map<Id, uint64_t>& by, const Id& id) {
  const auto found = by.find(id);
  return found == by.end() ? 0 : found->second;
}

template <typename Id>
void Lower(std::map<Id, uint64_t>& by, const Id& id, uint64_t bytes) {
  const auto found = by.find(id);
  if (found != by.end() && (found->second -= bytes) == 0) by.erase(found);
}

absl::Status CheckRoom(absl::string_view what, absl::string_view owner, absl::string_view limit,
                       uint64_t bytes, uint64_t taken, uint64_t most) {
  if (taken <= most && bytes <= most - taken) return absl::OkStatus();
  return MarkExhausted(absl::ResourceExhaustedError(
                           absl::StrCat(owner, " full for now: ", bytes, " bytes beside ", taken,
                                        " taken of ", most, " (limits.", limit, ")")),
                       what);
}

}  // namespace

absl::Status SpoolQuota::CheckSize(uint64_t bytes) const {
  const std::pair<absl::string_view, uint64_t> limits[] = {
      {"spool_bytes", limits_.total_bytes},
      {"spool_bytes_per_job", limits_.bytes_per_job},
      {"spool_bytes_per_client", limits_.bytes_per_client}};
  for (const auto& [name, most] : limits) {
    if (bytes <= most) continue;
    return absl::OutOfRangeError(absl::StrCat("total_bytes: found ", bytes, ", at most ", most,
                                              " can ever be taken (limits.", name, ")"));
  }
  return absl::OkStatus();
}

absl::Status SpoolQuota::Take(const JobId& job, const ClientId& client, uint64_t bytes) {
  TRIB_RETURN_IF_ERROR(
      CheckRoom("spool", "the spool is", "spool_bytes", bytes, total_, limits_.total_bytes));
  TRIB_RETURN_IF_ERROR(CheckRoom("job", absl::StrCat("the spool of job '", job.value(), "' is"),
                                 "spool_bytes_per_job", bytes, TakenBy(by_job_, job),
                                 limits_.bytes_per_job));
  TRIB_RETURN_IF_ERROR(CheckRoom(
      "client", absl::StrCat("the spool of client '", client.value(), "' is"),
      "spool_bytes_per_client", bytes, TakenBy(by_client_, client), limits_.bytes_per_client));
  Count(job, client, bytes);
  return absl::OkStatus();
}

void SpoolQuota::Count(const JobId& job, const ClientId& client, uint64_t bytes) {
  total_ += bytes;
  by_job_[job] += bytes;
  by_client_[client] += bytes;
}

void SpoolQuota::GiveBack(const JobId& job, const ClientId& client, uint64_t bytes) {
  total_ -= bytes;
  Lower(by_job_, job, bytes);
  Lower(by_client_, client, bytes);
}

}  // namespace tributary
