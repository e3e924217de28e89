#include "tests/server/operator/tool_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "common/check.h"

namespace tributary::test {
namespace {

[[noreturn]] void Exec(const std::vector<std::string>& arguments, const std::string& server,
                       const std::string& out, const std::string& err) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  dup2(open(out.c_str(), kFlags, 0600), STDOUT_FILENO);
  dup2(open(err.c_str(), kFlags, 0600), STDERR_FILENO);
  server.empty() ? unsetenv("TRIBUTARY_SERVER") : setenv("TRIBUTARY_SERVER", server.c_str(), 1);
  const std::string binary = std::string(std::getenv("TRIBUTARY_BIN_DIR")) + "/tributary";
  std::vector<char*> argv = {const_cast<char*>(binary.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(binary.c_str(), argv.data());
  _exit(127);
}

}  // namespace

ToolProcess::ToolProcess(const std::vector<std::string>& arguments, const std::string& server) {
  TRIB_CHECK(std::getenv("TRIBUTARY_BIN_DIR") != nullptr);
  pid_ = fork();
  TRIB_CHECK(pid_ >= 0);
  if (pid_ == 0) Exec(arguments, server, dir_.File("out"), dir_.File("err"));
}

ToolProcess::~ToolProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void ToolProcess::Signal(int signal) const { kill(pid_, signal); }

ToolResult ToolProcess::Wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(dir_.File("out")),
          ReadFile(dir_.File("err"))};
}

ToolResult RunTributary(const std::vector<std::string>& arguments, const std::string& server) {
  return ToolProcess(arguments, server).Wait();
}

}  // namespace tributary::test
