#include "tests/testing/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/clock.h"
#include "gtest/gtest.h"

namespace tributary::test {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(10);

// NULL-terminated, into strings that outlive it.
std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Merged(Subprocess::Environment env) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(*entry, absl::MaxSplits('=', 1));
    env.insert(pair);  // what the caller gave stays
  }
  std::vector<std::string> entries;
  for (const auto& [name, value] : env) entries.push_back(absl::StrCat(name, "=", value));
  return entries;
}

}  // namespace

std::string BinaryPath(absl::string_view name) {
  if (const char* folder = std::getenv("TRIBUTARY_BIN_DIR")) return absl::StrCat(folder, "/", name);
  // Started by hand: bin/ stands beside the folder of this program.
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
         std::string(name);
}

std::ostream& operator<<(std::ostream& out, const Exit& exit) {
  if (exit.signal != 0) return out << "ended by signal " << exit.signal;
  return out << "exit code " << exit.code;
}

absl::StatusOr<std::unique_ptr<Subprocess>> Subprocess::Start(const std::vector<std::string>& args,
                                                              const Environment& env) {
  TRIB_CHECK(!args.empty());
  std::unique_ptr<Subprocess> process(new Subprocess());
  const std::string out = process->dir_.Write("out", "");
  const std::string err = process->dir_.Write("err", "");
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_APPEND, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_APPEND, 0);
  std::vector<std::string> arguments = args;
  std::vector<std::string> environment = Merged(env);
  const int error = posix_spawn(&process->pid_, args[0].c_str(), &files, nullptr,
                                Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    process->pid_ = -1;
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", args[0]));
  }
  // glibc 2.36 declares pidfd_open without extern "C".
  process->pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, process->pid_, 0));
  TRIB_CHECK(process->pid_fd_ >= 0);
  return process;
}

Subprocess::~Subprocess() {
  if (pid_ < 0) return;
  Signal(SIGKILL);
  EndsWithin(absl::InfiniteDuration());
  close(pid_fd_);
}

void Subprocess::Signal(int signal) const {
  if (!exit_) kill(pid_, signal);
}

// False: it still runs.
bool Subprocess::EndsWithin(absl::Duration timeout) {
  if (exit_) return true;
  pollfd ended = {.fd = pid_fd_, .events = POLLIN, .revents = 0};
  const int milliseconds = timeout == absl::InfiniteDuration()
                               ? -1
                               : static_cast<int>(absl::ToInt64Milliseconds(timeout));
  if (poll(&ended, 1, milliseconds) != 1) return false;
  int status = 0;
  TRIB_CHECK(waitpid(pid_, &status, 0) == pid_);
  exit_ = WIFEXITED(status) ? Exit{.code = WEXITSTATUS(status)} : Exit{.signal = WTERMSIG(status)};
  return true;
}

std::string Subprocess::Output() const {
  return absl::StrCat("its output:\n", out(), "its errors:\n", err());
}

absl::StatusOr<Exit> Subprocess::Wait(absl::Duration timeout) {
  if (EndsWithin(timeout)) return *exit_;
  return absl::DeadlineExceededError(absl::StrCat("process ", pid_, " still runs after ",
                                                  absl::FormatDuration(timeout), "; ", Output()));
}

absl::StatusOr<std::vector<std::string>> Subprocess::WaitForLine(const std::string& regex,
                                                                 absl::Duration timeout) {
  const RealClock clock;
  const std::regex pattern(regex);
  const absl::Time deadline = clock.Now() + timeout;
  bool ended = false;
  for (;;) {
    for (const std::string& text : {out(), err()}) {
      const std::string whole = text.substr(0, text.rfind('\n') + 1);
      for (const std::string& line : std::vector<std::string>(absl::StrSplit(whole, '\n'))) {
        std::smatch match;
        if (std::regex_search(line, match, pattern)) {
          return std::vector<std::string>(match.begin(), match.end());
        }
      }
    }
    const std::string missing = absl::StrCat("no line with '", regex, "'; ");
    if (ended) return absl::FailedPreconditionError(absl::StrCat("ended with ", missing, Output()));
    if (clock.Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(missing, Output()));
    }
    ended = EndsWithin(kLookEvery);  // and then looks once more
  }
}

Completed RunToEnd(const std::vector<std::string>& args, const Subprocess::Environment& env,
                   absl::Duration timeout) {
  auto process = Subprocess::Start(args, env);
  if (!process.ok()) {
    ADD_FAILURE() << process.status();
    return {};
  }
  const auto exit = (*process)->Wait(timeout);
  if (!exit.ok()) ADD_FAILURE() << exit.status();
  return {exit.value_or(Exit{}), (*process)->out(), (*process)->err()};
}

}  // namespace tributary::test
