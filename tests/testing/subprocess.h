// Subprocess: runs a real program, catches what it says, and never outlives its test.
//
//   auto daemon = Subprocess::Start({BinaryPath("tributaryd"), "--dev"});
//   auto ready = (*daemon)->WaitForLine("listening on (\\S+)", absl::Seconds(10));
//   Connect((*ready)[1]);
//   (*daemon)->Signal(SIGTERM);
//   EXPECT_THAT((*daemon)->Wait(absl::Seconds(10)), IsOkAndHolds(Exit{.code = 0}));
#ifndef TRIBUTARY_TESTS_TESTING_SUBPROCESS_H_
#define TRIBUTARY_TESTS_TESTING_SUBPROCESS_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

// One of our binaries, in the build tree that the test belongs to.
std::string BinaryPath(absl::string_view name);

// How a process ended: by itself with a code, or by a signal.
struct Exit {
  int code = -1;
  int signal = 0;
  bool operator==(const Exit&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Exit& exit);

// Thread-compatible.
class Subprocess {
 public:
  using Environment = std::map<std::string, std::string>;

  // `args`: the program's path, then its arguments. `env` is added to this process's
  // environment. NotFound, PermissionDenied, …: the program cannot be started.
  static absl::StatusOr<std::unique_ptr<Subprocess>> Start(const std::vector<std::string>& args,
                                                           const Environment& env = {});
  ~Subprocess();  // kills it if it still runs
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;  // nothing if it has ended

  // Waits for its end; the same answer ever after. DeadlineExceeded with its output.
  absl::StatusOr<Exit> Wait(absl::Duration timeout);

  // What it has written so far; its output goes to files, so it never blocks on it.
  std::string out() const { return ReadFile(dir_.File("out")); }
  std::string err() const { return ReadFile(dir_.File("err")); }

  // The first whole line of out(), else of err(), in which `regex` (ECMAScript) is found: what
  // matched and its groups. DeadlineExceeded, or FailedPrecondition if it ended without one,
  // with its output.
  absl::StatusOr<std::vector<std::string>> WaitForLine(const std::string& regex,
                                                       absl::Duration timeout);

 private:
  Subprocess() = default;
  bool EndsWithin(absl::Duration timeout);
  std::string Output() const;

  TempDir dir_;
  pid_t pid_ = -1;
  int pid_fd_ = -1;  // readable once the process has ended
  std::optional<Exit> exit_;
};

// Start and Wait, for a program that ends by itself. A failure to do so fails the test.
struct Completed {
  Exit exit;
  std::string out;
  std::string err;
};
Completed RunToEnd(const std::vector<std::string>& args, const Subprocess::Environment& env = {},
                   absl::Duration timeout = absl::Minutes(2));

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_SUBPROCESS_H_
