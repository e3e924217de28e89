// `tributary-client export`: what a job trained, in the forms that other tools open.
#ifndef TRIBUTARY_CLIENT_SDK_APP_EXPORT_H_
#define TRIBUTARY_CLIENT_SDK_APP_EXPORT_H_

#include <ostream>

namespace tributary {

// Writes what its flags say, and tells on `out` what an adapter keeps of a difference; errors, and
// the help, as their flags say. argv[0] is the command's name. Returns the process's exit code
// (docs/sdk.md).
int Export(int argc, char** argv, std::ostream& out, std::ostream& err);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_EXPORT_H_
