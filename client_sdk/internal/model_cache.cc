#include "client_sdk/internal/model_cache.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

constexpr char kVersionKey[] = "tributary.version";
constexpr char kDigestKey[] = "tributary.model_digest";

absl::StatusOr<HeldModel> ReadModel(const JobId& job, const std::string& path) {
  std::map<std::string, std::string> metadata;
  TRIB_ASSIGN_OR_RETURN(ParamVector params, ReadSafetensors(path, &metadata));
  HeldModel model{.job = job};
  TRIB_ASSIGN_OR_RETURN(model.digest, Digest::FromHex(metadata[kDigestKey]));
  if (!absl::SimpleAtoi(metadata[kVersionKey], &model.version)) {
    return absl::DataLossError(absl::StrCat(kVersionKey, " is '", metadata[kVersionKey], "'"));
  }
  if (params.ComputeDigest() != model.digest) {
    return absl::DataLossError("the values do not have the digest that the file states");
  }
  model.params = std::make_shared<const ParamVector>(std::move(params));
  return model;
}

}  // namespace

ModelCache::ModelCache(int capacity, std::string directory)
    : capacity_(static_cast<size_t>(capacity)), directory_(std::move(directory)) {
  TRIB_CHECK(capacity >= 1);
}

const HeldModel* ModelCache::Find(const JobId& job, Version version) {
  LoadFromDisk(job);
  auto best = models_.end();
  for (auto it = models_.begin(); it != models_.end(); ++it) {
    if (it->job != job) continue;
    if (it->version == version) {
      best = it;
      break;
    }
    if (best == models_.end() || it->version > best->version) best = it;
  }
  if (best == models_.end()) return nullptr;
  models_.splice(models_.begin(), models_, best);
  return &models_.front();
}

void ModelCache::MakeRoom() {
  while (models_.size() > 1 && models_.size() >= capacity_) models_.pop_back();
}

const HeldMask* ModelCache::FindMask(const JobId& job) const {
  const auto it = masks_.find(job);
  return it == masks_.end() ? nullptr : &it->second;
}

void ModelCache::PutMask(const JobId& job, std::optional<HeldMask> mask) {
  if (mask) {
    masks_[job] = *std::move(mask);
  } else {
    masks_.erase(job);
  }
}

void ModelCache::Put(HeldModel model) {
  looked_for_.insert(model.job);
  models_.remove_if(
      [&](const HeldModel& m) { return m.job == model.job && m.version == model.version; });
  models_.push_front(std::move(model));
  if (models_.size() > capacity_) models_.pop_back();

  const HeldModel& added = models_.front();
  const bool newest = std::all_of(models_.begin(), models_.end(), [&](const HeldModel& m) {
    return m.job != added.job || m.version <= added.version;
  });
  if (!directory_.empty() && newest) SaveToDisk(added);
}

void ModelCache::LoadFromDisk(const JobId& job) {
  if (directory_.empty() || !looked_for_.insert(job).second) return;
  const std::string path = PathOf(job);
  absl::StatusOr<HeldModel> model = ReadModel(job, path);
  if (!model.ok()) {
    if (!absl::IsNotFound(model.status())) {
      log::Warning("cached model not used", {{"path", path}, {"error", model.status()}});
    }
    return;
  }
  models_.push_front(*std::move(model));
  if (models_.size() > capacity_) models_.pop_back();
}

void ModelCache::SaveToDisk(const HeldModel& model) const {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  const std::string path = PathOf(model.job);
  const absl::Status saved = WriteSafetensors(
      *model.params, path,
      {{kVersionKey, absl::StrCat(model.version)}, {kDigestKey, model.digest.ToHex()}});
  if (!saved.ok()) log::Warning("model not cached", {{"path", path}, {"error", saved}});
}

std::string ModelCache::PathOf(const JobId& job) const {
  return absl::StrCat(directory_, "/", job.value(), ".safetensors");
}

}  // namespace tributary::sdk
