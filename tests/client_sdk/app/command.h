// Runs one of tributary-client's offline commands in this process.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_APP_COMMAND_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_APP_COMMAND_H_

#include <ostream>
#include <sstream>
#include <string>
#include <vector>

namespace tributary::test {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

inline Outcome RunCommand(int (*command)(int, char**, std::ostream&, std::ostream&),
                          std::vector<std::string> args) {
  args.insert(args.begin(), "command");
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  std::ostringstream out, err;
  const int code = command(static_cast<int>(argv.size()), argv.data(), out, err);
  return {code, out.str(), err.str()};
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_APP_COMMAND_H_
