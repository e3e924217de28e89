// `tributary doctor`: is this machine set up, and does the server answer?
#ifndef TRIBUTARY_SERVER_OPERATOR_DOCTOR_H_
#define TRIBUTARY_SERVER_OPERATOR_DOCTOR_H_

#include <string>
#include <vector>

#include "server/operator/connection.h"
#include "server/operator/console.h"

namespace tributary::op {

struct Finding {
  enum class Grade { kGood, kWarning, kBad } grade = Grade::kGood;
  std::string subject;  // "BLAS"
  std::string detail;   // what was found, and what to do about it
};

// Which BLAS a program on this machine loads, by the file that libblas.so.3 resolves to.
Finding JudgeBlas(const std::string& resolved_path);

// Prints one line each. kUnreachable if the server does not answer, else kDone: warnings are no
// failures.
ExitCode RunDoctor(const Console& console, Connection& connection);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_DOCTOR_H_
