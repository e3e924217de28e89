// `tributary-client generate`: a look at what a language model says.
#ifndef TRIBUTARY_CLIENT_SDK_APP_GENERATE_H_
#define TRIBUTARY_CLIENT_SDK_APP_GENERATE_H_

#include <ostream>

namespace tributary {

// Writes the prompt and what follows it to `out`; errors, and the help, as their flags say. argv[0]
// is the command's name. Returns the process's exit code (docs/sdk.md).
int Generate(int argc, char** argv, std::ostream& out, std::ostream& err);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_GENERATE_H_
