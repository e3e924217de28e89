// ToolProcess: runs build/…/bin/tributary and catches what it says.
#ifndef TRIBUTARY_TESTS_SERVER_OPERATOR_TOOL_PROCESS_H_
#define TRIBUTARY_TESTS_SERVER_OPERATOR_TOOL_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/testing/temp_dir.h"

namespace tributary::test {

struct ToolResult {
  int exit_code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

class ToolProcess {
 public:
  // Starts it with these arguments; TRIBUTARY_SERVER is unset unless given.
  explicit ToolProcess(const std::vector<std::string>& arguments, const std::string& server = "");
  ToolProcess(const ToolProcess&) = delete;
  ToolProcess& operator=(const ToolProcess&) = delete;
  ~ToolProcess();

  void Signal(int signal) const;
  ToolResult Wait();

 private:
  TempDir dir_;
  pid_t pid_ = -1;
};

ToolResult RunTributary(const std::vector<std::string>& arguments, const std::string& server = "");

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SERVER_OPERATOR_TOOL_PROCESS_H_
