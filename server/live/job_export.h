// A live job as the files that a simulated run leaves: for reports, comparisons and replay.
#ifndef TRIBUTARY_SERVER_LIVE_JOB_EXPORT_H_
#define TRIBUTARY_SERVER_LIVE_JOB_EXPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/params/param_layout.h"
#include "server/store/model_store.h"

namespace tributary {

struct JobExport {
  struct KeptFile {
    std::string name;  // kFirstModelFile or UpdateFile
    std::string path;
  };
  JobId job;
  Version version = -1;  // the newest; -1: none yet
  std::string events;    // events.jsonl: the journal, and what follows from it
  std::string metrics;   // metrics.csv; seconds since the submission
  std::string summary;   // summary.json, without what only a simulator knows
  std::vector<KeptFile> kept;
};

// All but `kept`. `layout` may be null. DataLoss naming the line that cannot be read;
// InvalidArgument from the spec.
absl::StatusOr<JobExport> MakeExport(const JobRecord& record,
                                     const std::vector<std::string>& journal,
                                     const LayoutPtr& layout, absl::Time now);

// What is in a job's folder of kept files, by name; nothing if there is no such folder.
absl::StatusOr<std::vector<JobExport::KeptFile>> ListKept(const std::string& dir);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_JOB_EXPORT_H_
