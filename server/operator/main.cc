// tributary: the operator's tool. It keeps no state that an interruption could harm, so a
// signal just ends it; the job it watches goes on.
#include <unistd.h>

#include <csignal>
#include <iostream>

#include "common/clock.h"
#include "server/operator/tool.h"

namespace {

extern "C" void EndInterrupted(int) {
  _exit(static_cast<int>(tributary::cli::ExitCode::kInterrupted));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, EndInterrupted);
  std::signal(SIGTERM, EndInterrupted);
  std::signal(SIGPIPE, SIG_IGN);
  tributary::RealClock clock;
  tributary::op::Console console{std::cout, std::cerr, clock};
  console.terminal = isatty(STDOUT_FILENO) == 1;
  return static_cast<int>(tributary::op::RunTool(argc, argv, console));
}
