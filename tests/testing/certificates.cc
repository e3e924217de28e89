#include "tests/testing/certificates.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tests/testing/subprocess.h"

namespace tributary::test {
namespace {

absl::Status OpenSsl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "/usr/bin/openssl");
  const Completed done = RunToEnd(arguments);
  if (done.exit.code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("openssl ", arguments[1], ": ", done.err));
}

// `openssl req` with a new key.
absl::Status Request(std::vector<std::string> rest) {
  const std::vector<std::string> begin = {
      "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"};
  rest.insert(rest.begin(), begin.begin(), begin.end());
  return OpenSsl(std::move(rest));
}

}  // namespace

absl::StatusOr<Certificates> Certificates::Create(std::string dir,
                                                  const std::vector<std::string>& names) {
  Certificates files(std::move(dir));
  TRIB_RETURN_IF_ERROR(Request({"-x509", "-days", "1", "-subj", "/CN=authority", "-keyout",
                                files.KeyOf("ca"), "-out", files.ca()}));
  for (const std::string& name : names) TRIB_RETURN_IF_ERROR(files.Issue(name, Terms()));
  return files;
}

absl::Status Certificates::Issue(const std::string& name, const Terms& terms) const {
  const std::string request = absl::StrCat(dir_, "/", name, ".csr");
  TRIB_RETURN_IF_ERROR(Request({"-subj", absl::StrCat("/CN=", name), "-addext",
                                absl::StrCat("subjectAltName=", terms.hosts), "-keyout",
                                KeyOf(name), "-out", request}));
  return OpenSsl({"x509", "-req", "-days", absl::StrCat(terms.days), "-copy_extensions", "copy",
                  "-CA", ca(), "-CAkey", KeyOf("ca"), "-CAcreateserial", "-in", request, "-out",
                  CertificateOf(name)});
}

}  // namespace tributary::test
