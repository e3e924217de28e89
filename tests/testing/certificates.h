// Certificates: an authority and what it signs, made with openssl(1) for one test or measurement.
//
//   const TempDir dir;
//   auto authority = Certificates::Create(dir.path(), {"server", "alice"});
//   options.ca_file = authority->ca();
//   options.cert_file = authority->CertificateOf("alice");
#ifndef TRIBUTARY_TESTS_TESTING_CERTIFICATES_H_
#define TRIBUTARY_TESTS_TESTING_CERTIFICATES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tributary::test {

// Thread-compatible. Files are PEM; keys are of P-256.
class Certificates {
 public:
  struct Terms {
    // What it speaks for in the network, as in a subjectAltName.
    std::string hosts = "DNS:localhost,IP:127.0.0.1";
    // Valid for so many from now on; below 0: it was, until so many ago.
    int days = 1;
  };

  // Makes the authority in `dir`, an empty folder, and a certificate for each of `names`.
  // Internal, with openssl's words.
  static absl::StatusOr<Certificates> Create(std::string dir,
                                             const std::vector<std::string>& names);

  // Signs a certificate with this common name.
  absl::Status Issue(const std::string& name, const Terms& terms) const;

  std::string ca() const { return dir_ + "/ca.pem"; }
  std::string CertificateOf(const std::string& name) const { return dir_ + "/" + name + ".pem"; }
  std::string KeyOf(const std::string& name) const { return dir_ + "/" + name + ".key"; }

 private:
  explicit Certificates(std::string dir) : dir_(std::move(dir)) {}
  std::string dir_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_CERTIFICATES_H_
