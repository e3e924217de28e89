#include "client_sdk/internal/residual_store.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

constexpr char kClientKey[] = "tributary.client";
constexpr char kJobKey[] = "tributary.job";
constexpr char kWeightKey[] = "tributary.residual_weight";
constexpr char kTaskKey[] = "tributary.residual_task";
constexpr char kDigestKey[] = "tributary.residual_digest";

std::string DigestOf(const ResidualOwner& owner, const Residual& residual) {
  Sha256 hash;
  hash.Update(absl::StrCat(owner.client.value(), "/", owner.job.value(), "/", residual.weight, "/",
                           residual.task));
  hash.Update(residual.values.values());
  return hash.Finish().ToHex();
}

}  // namespace

absl::Status WriteResidual(const std::string& path, const ResidualOwner& owner,
                           const Residual& residual) {
  return WriteSafetensors(residual.values, path,
                          {{kClientKey, owner.client.value()},
                           {kJobKey, owner.job.value()},
                           {kWeightKey, absl::StrCat(residual.weight)},
                           {kTaskKey, absl::StrCat(residual.task)},
                           {kDigestKey, DigestOf(owner, residual)}});
}

absl::StatusOr<Residual> ReadResidual(const std::string& path, const ResidualOwner& owner) {
  std::map<std::string, std::string> metadata;
  Residual residual;
  TRIB_ASSIGN_OR_RETURN(residual.values, ReadSafetensors(path, &metadata));
  if (metadata[kClientKey] != owner.client.value() || metadata[kJobKey] != owner.job.value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the residual of client '", metadata[kClientKey], "' for job '",
                     metadata[kJobKey], "', wanted is that of client '", owner.client.value(),
                     "' for job '", owner.job.value(), "'"));
  }
  if (!absl::SimpleAtoi(metadata[kWeightKey], &residual.weight) || residual.weight < 1) {
    return absl::DataLossError(
        absl::StrCat(kWeightKey, " is '", metadata[kWeightKey], "'; allowed: from 1"));
  }
  if (!absl::SimpleAtoi(metadata[kTaskKey], &residual.task) || residual.task < 0) {
    return absl::DataLossError(
        absl::StrCat(kTaskKey, " is '", metadata[kTaskKey], "'; allowed: from 0"));
  }
  if (DigestOf(owner, residual) != metadata[kDigestKey]) {
    return absl::DataLossError("the residual does not have the digest that the file states");
  }
  return residual;
}

ResidualStore::ResidualStore(std::string directory, ClientId client)
    : directory_(std::move(directory)), client_(std::move(client)) {}

const Residual* ResidualStore::Find(const JobId& job) {
  const auto [it, is_new] = residuals_.try_emplace(job);
  if (is_new && !directory_.empty()) {
    absl::StatusOr<Residual> read = ReadResidual(PathOf(job), {client_, job});
    if (read.ok()) {
      it->second = *std::move(read);
    } else if (!absl::IsNotFound(read.status())) {
      log::Warning("residual not used", {{"path", PathOf(job)}, {"error", read.status()}});
      RemoveFile(PathOf(job)).IgnoreError();
    }
  }
  return it->second ? &*it->second : nullptr;
}

void ResidualStore::Commit(const JobId& job, std::optional<Residual> residual) {
  if (!residual && Find(job) == nullptr) return;
  std::optional<Residual>& kept = residuals_[job] = std::move(residual);
  if (directory_.empty()) return;
  if (kept) {
    absl::Status written = CreateDirectory(directory_);
    if (written.ok()) written = WriteResidual(PathOf(job), {client_, job}, *kept);
    if (written.ok()) return;
    log::Warning("residual not kept", {{"path", PathOf(job)}, {"error", written}});
  }
  RemoveFile(PathOf(job)).IgnoreError();
}

std::string ResidualStore::PathOf(const JobId& job) const {
  return absl::StrCat(directory_, "/", job.value(), ".safetensors");
}

}  // namespace tributary::sdk
