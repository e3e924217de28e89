// ModelCache: models that this client holds, so that they need not be sent again.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_MODEL_CACHE_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_MODEL_CACHE_H_

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "common/digest.h"
#include "common/ids.h"
#include "common/params/mask.h"
#include "common/params/param_vector.h"

namespace tributary::sdk {

// A version of a job's model. Immutable.
struct HeldModel {
  JobId job;
  Version version = 0;
  Digest digest;
  std::shared_ptr<const ParamVector> params;
};

// The mask that a job's clients were last told of. Immutable.
struct HeldMask {
  Xxh128 checksum;  // of PackMask
  std::shared_ptr<const Mask> mask;
};

// The last few models used, in memory; and, if there is a folder, each job's newest one
// there as `<job>.safetensors`. What is read back is checked against its digest; a file that
// cannot be read or written is logged and done without. Thread-compatible.
class ModelCache {
 public:
  // `capacity` >= 1. `directory` is created when it is first written to; empty: memory only.
  ModelCache(int capacity, std::string directory);

  // This version if it is held, else the job's newest that is, else null. Valid until the
  // next call.
  const HeldModel* Find(const JobId& job, Version version);

  // Lets go of what would make way for one more, but not of what was found last: so that the one
  // to come does not stand beside all the others.
  void MakeRoom();
  void Put(HeldModel model);

  // In memory alone: after a restart a mask is sent once more. Null: the job prunes nothing, as far
  // as is known.
  const HeldMask* FindMask(const JobId& job) const;
  void PutMask(const JobId& job, std::optional<HeldMask> mask);

 private:
  void LoadFromDisk(const JobId& job);
  void SaveToDisk(const HeldModel& model) const;
  std::string PathOf(const JobId& job) const;

  const size_t capacity_;
  const std::string directory_;
  std::list<HeldModel> models_;  // last used first
  std::set<JobId> looked_for_;   // jobs whose file was already tried
  std::map<JobId, HeldMask> masks_;
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_MODEL_CACHE_H_
