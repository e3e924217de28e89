// ProgramCache: the TorchScript programs of jobs, fetched once each.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_PROGRAM_CACHE_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_PROGRAM_CACHE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client_sdk/connection.h"
#include "client_sdk/internal/retry.h"
#include "client_sdk/internal/uploader.h"
#include "common/train_spec/train_spec.h"

namespace tributary::sdk {

// The program used last, in memory; and, if there is a folder, each one there as `<sha256>.pt`.
// What is read back is checked against its digest; a file that cannot be read or written is logged
// and done without. Thread-compatible.
class ProgramCache {
 public:
  // `directory` is created when it is first written to; empty: memory only.
  explicit ProgramCache(std::string directory) : directory_(std::move(directory)) {}

  // The program of the job. One that is not here is fetched: after a break from the byte where it
  // stopped, every chunk checked against its XXH3, the whole against `program`.
  // Errors: those of the connection that `retry` does not take; OutOfRange if it is larger than
  // `max_bytes`; DataLoss if the whole is wrong three times.
  absl::StatusOr<std::shared_ptr<const std::string>> Get(Connection& connection, const JobId& job,
                                                         const ProgramSpec& program,
                                                         int64_t max_bytes,
                                                         const TransferOptions& options,
                                                         Retry& retry);

 private:
  absl::StatusOr<std::string> Load(const ProgramSpec& program) const;
  void Save(const ProgramSpec& program) const;
  std::string PathOf(const ProgramSpec& program) const;

  const std::string directory_;
  std::string sha256_;  // of the one held
  std::shared_ptr<const std::string> held_;
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_PROGRAM_CACHE_H_
