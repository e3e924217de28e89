#include "client_sdk/internal/residual_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
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
constexpr char kMomentumKey[] = "tributary.residual_momentum";  // there is: it has tensors
constexpr char kMomentumPrefix[] = "tributary.momentum/";       // of these tensors' names

std::string DigestOf(const ResidualOwner& owner, const Residual& residual) {
  Sha256 hash;
  hash.Update(absl::StrCat(owner.client.value(), "/", owner.job.value(), "/", residual.weight, "/",
                           residual.task));
  hash.Update(residual.values.values());
  if (!residual.momentum.empty()) {
    hash.Update(absl::string_view("/momentum"));
    hash.Update(residual.momentum.trainable());
  }
  return hash.Finish().ToHex();
}

// One file's values: [ residual | momentum | the residual's buffers ].
absl::StatusOr<ParamVector> Join(const Residual& residual) {
  std::vector<ParamLayout::Tensor> tensors = residual.values.layout()->tensors();
  for (const ParamLayout::Tensor& tensor : residual.momentum.layout()->tensors()) {
    if (tensor.kind != TensorKind::kTrainable) continue;
    tensors.push_back(tensor);
    tensors.back().name.insert(0, kMomentumPrefix);
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  ParamVector joined(std::move(layout));
  const auto rest = std::ranges::copy(residual.values.trainable(), joined.values().begin()).out;
  std::ranges::copy(residual.momentum.trainable(), rest);
  return joined;
}

absl::Status Split(const ParamVector& joined, Residual& residual) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const ParamLayout::Tensor& tensor : joined.layout()->tensors()) {
    if (!absl::StartsWith(tensor.name, kMomentumPrefix)) tensors.push_back(tensor);
  }
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  const auto size = static_cast<size_t>(layout->trainable_size());
  if (joined.trainable().size() != 2 * size) {
    return absl::DataLossError(absl::StrCat("a residual of ", size, " values with momentum has ",
                                            joined.trainable().size()));
  }
  residual.values = ParamVector(layout);
  residual.momentum = ParamVector(layout);
  std::ranges::copy(joined.trainable().first(size), residual.values.values().begin());
  std::ranges::copy(joined.trainable().subspan(size), residual.momentum.values().begin());
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteResidual(const std::string& path, const ResidualOwner& owner,
                           const Residual& residual) {
  std::map<std::string, std::string> metadata = {{kClientKey, owner.client.value()},
                                                 {kJobKey, owner.job.value()},
                                                 {kWeightKey, absl::StrCat(residual.weight)},
                                                 {kTaskKey, absl::StrCat(residual.task)},
                                                 {kDigestKey, DigestOf(owner, residual)}};
  if (residual.momentum.empty()) return WriteSafetensors(residual.values, path, metadata);
  TRIB_ASSIGN_OR_RETURN(const ParamVector joined, Join(residual));
  metadata[kMomentumKey] = "true";
  return WriteSafetensors(joined, path, metadata);
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
  if (metadata.contains(kMomentumKey)) {
    const ParamVector joined = std::move(residual.values);
    TRIB_RETURN_IF_ERROR(Split(joined, residual));
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
