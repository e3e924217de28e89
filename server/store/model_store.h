// ModelStore: what survives. Jobs, published versions (model, pipeline state and log row in
// one transaction), evaluations, clients, and the journal of events from which a restarted
// coordinator goes on. Format: docs/store_format.md.
#ifndef TRIBUTARY_SERVER_STORE_MODEL_STORE_H_
#define TRIBUTARY_SERVER_STORE_MODEL_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/digest.h"
#include "common/ids.h"
#include "common/params/param_vector.h"

namespace tributary {

struct JobRecord {
  JobId id;
  std::string request_id;  // of the submission; unique, may be empty
  std::string spec_json;   // canonical
  std::string state;       // initialising | running | paused | done | cancelled | failed
  std::string reason;
  absl::Time submitted_at;
  std::optional<absl::Time> ended_at;
};

struct EvaluationRecord {
  Version version = -1;
  double loss = 0;
  double accuracy = 0;
  int64_t num_examples = 0;
};

struct VersionRecord {
  Version version = 0;
  Digest model_digest;
  Digest layout_digest;
  absl::Time published_at;
  int64_t updates = 0;     // combined into this version
  std::string stats_json;  // more figures, for the log
  std::optional<EvaluationRecord> evaluation;
  bool kept = true;  // false: only this record is left
};

// One publication. Everything of it becomes visible, or nothing.
struct Publication {
  JobId job;
  Version version = 0;  // the newest + 1, or 0
  const ParamVector* model = nullptr;
  std::map<std::string, const ParamVector*> state_vectors;  // of the pipeline; may be empty ones
  std::map<std::string, double> state_scalars;
  std::string delta;  // what makes this version of the one before (VersionDelta); empty: nothing
  int64_t updates = 0;
  std::string stats_json;
  absl::Time at;
};

struct ClientRecord {
  ClientId id;
  std::string user_agent;
  bool evaluate_only = false;
  absl::Time enrolled_at;
  absl::Time last_seen_at;
  int64_t updates = 0;
  int64_t lost = 0;
  uint64_t uplink_bytes = 0;
};

// Of a job, that are kept: whoever is further behind is sent the values.
inline constexpr int64_t kMaxDeltas = 256;

// The delta that makes `version` of the one before.
struct DeltaPart {
  Version version = 0;
  uint64_t bytes = 0;
};

// Random access to the bytes that a published model travels in, without loading them: its
// little-endian float32 values, or the deltas that lead to it. Stays readable while it is open even
// if the version is pruned. Thread-safe.
class ModelReader {
 public:
  virtual ~ModelReader() = default;
  virtual const VersionRecord& record() const = 0;
  virtual const LayoutPtr& layout() const = 0;
  virtual uint64_t size_bytes() const = 0;
  // Whose bytes they are, one after another; none: the values.
  virtual absl::Span<const DeltaPart> deltas() const { return {}; }
  // Exactly `length` bytes from `offset`. OutOfRange past the end, DataLoss if the disk fails.
  virtual absl::Status Read(uint64_t offset, uint64_t length, std::string& out) const = 0;
};

// Thread-safe. Calls block on disk: never call from an event loop. Errors beside those
// named: NotFound (no such job or version), Unavailable (disk full or busy), DataLoss
// (corrupt).
class ModelStore {
 public:
  virtual ~ModelStore() = default;

  // Inserts or replaces. InvalidArgument: not a valid id. AlreadyExists: another job has this
  // request id.
  virtual absl::Status PutJob(const JobRecord& job) = 0;
  virtual absl::StatusOr<JobRecord> GetJob(const JobId& job) const = 0;  // NotFound
  virtual absl::StatusOr<std::vector<JobRecord>> ListJobs() const = 0;   // oldest first

  // Durable when it returns. FailedPrecondition: not the next version.
  virtual absl::StatusOr<VersionRecord> Publish(const Publication& publication) = 0;
  virtual absl::StatusOr<VersionRecord> GetVersion(const JobId& job, Version version) const = 0;
  virtual absl::StatusOr<std::vector<VersionRecord>> ListVersions(
      const JobId& job) const = 0;  // oldest first
  virtual absl::Status PutEvaluation(const JobId& job, const EvaluationRecord& evaluation) = 0;

  // NotFound: no such version, or its values are no longer kept.
  virtual absl::StatusOr<std::unique_ptr<ModelReader>> OpenModel(const JobId& job,
                                                                 Version version) const = 0;
  virtual absl::StatusOr<ParamVector> LoadModel(const JobId& job, Version version) const = 0;
  // The deltas that make `to` of the earlier version `from`. NotFound: no such versions, the
  // values of `to` are no longer kept, or one of the deltas is not there.
  virtual absl::StatusOr<std::unique_ptr<ModelReader>> OpenDeltas(const JobId& job, Version from,
                                                                  Version to) const = 0;
  // Calls `take(first, values)` for all of a model's values, block by block in their order. An
  // error may come after the last block, since only then the digest is known.
  using TakeValues = std::function<void(size_t first, absl::Span<const float> values)>;
  virtual absl::Status ReadModel(const JobId& job, Version version,
                                 const TakeValues& take) const = 0;
  // Fills the vectors and scalars named with what was published: a vector that is empty gets
  // the layout of the published one, or stays empty with it. NotFound: no such version, or its
  // state is no longer kept. DataLoss: a name is missing, or has another layout.
  virtual absl::Status LoadState(const JobId& job, Version version,
                                 const std::map<std::string, ParamVector*>& vectors,
                                 const std::map<std::string, double*>& scalars) const = 0;
  // Forgets the values (not the records) of all but the newest `keep` versions of a job, and
  // the pipeline state of all but the newest; and all deltas but those, at most kMaxDeltas, that
  // lead on to the newest in fewer bytes than its values have. Files that nothing names any more
  // go. InvalidArgument: keep < 1.
  virtual absl::Status Prune(const JobId& job, int64_t keep) = 0;

  // The journal: lines of JSON, in order, durable when the call returns.
  virtual absl::Status AppendJournal(const JobId& job, const std::vector<std::string>& lines) = 0;
  virtual absl::StatusOr<std::vector<std::string>> ReadJournal(const JobId& job) const = 0;

  virtual absl::Status PutClient(const ClientRecord& client) = 0;
  virtual absl::StatusOr<std::vector<ClientRecord>> ListClients() const = 0;  // by id
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_MODEL_STORE_H_
