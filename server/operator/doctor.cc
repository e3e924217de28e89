#include "server/operator/doctor.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/blas.h"
#include "common/cli/format.h"
#include "common/version.h"
#include "google/protobuf/stubs/common.h"
#include "grpcpp/grpcpp.h"

namespace tributary::op {
namespace {

using cli::FormatTable;

namespace fs = std::filesystem;
using Grade = Finding::Grade;

Finding CheckBlas() {
  // Debian keeps it in the folder of the machine's architecture: /usr/lib/x86_64-linux-gnu/.
  std::error_code error;
  for (const fs::directory_entry& folder : fs::directory_iterator("/usr/lib", error)) {
    const fs::path resolved = fs::canonical(folder.path() / "libblas.so.3", error);
    if (!error) return JudgeBlas(resolved.string());
  }
  return {Grade::kWarning, "BLAS",
          "none found: needed for training on this machine; apt-get install libopenblas0-openmp"};
}

Finding CheckThreads() {
  const char* threads = std::getenv("OMP_NUM_THREADS");
  if (threads != nullptr && std::string(threads) == "1") {
    return {Grade::kGood, "threads", "OMP_NUM_THREADS=1"};
  }
  return {Grade::kWarning, "threads",
          absl::StrCat("OMP_NUM_THREADS is ", threads == nullptr ? "not set" : threads,
                       "; set it to 1 where clients train: more threads inside one operator "
                       "spin against each other")};
}

Finding CheckDataset(absl::string_view name, absl::string_view package) {
  const std::string folder = absl::StrCat("/usr/share/datasets/", name);
  std::error_code error;
  if (fs::is_directory(folder, error)) return {Grade::kGood, "data", folder};
  return {Grade::kWarning, "data",
          absl::StrCat(folder, " is not there; apt-get install ", package)};
}

Finding CheckServer(Connection& connection) {
  const auto jobs = connection.Call(&v1::Operator::StubInterface::ListJobs, v1::ListJobsRequest());
  if (!jobs.ok()) return {Grade::kBad, "server", std::string(jobs.status().message())};
  return {Grade::kGood, "server",
          absl::StrCat(connection.server(), " answers, jobs: ", jobs->jobs_size())};
}

std::string GradeName(Grade grade) {
  if (grade == Grade::kGood) return "ok";
  return grade == Grade::kWarning ? "warning" : "bad";
}

}  // namespace

Finding JudgeBlas(const std::string& resolved_path) {
  const std::string problem = BlasProblem(resolved_path);
  if (problem.empty()) return {Grade::kGood, "BLAS", resolved_path};
  return {Grade::kWarning, "BLAS", absl::StrCat(resolved_path, ": ", problem)};
}

ExitCode RunDoctor(const Console& console, Connection& connection) {
  const std::vector<Finding> findings = {
      {Grade::kGood, "versions",
       absl::StrCat("tributary ", kVersion, ", gRPC ", grpc::Version(), ", protobuf ",
                    google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION))},
      CheckBlas(),
      CheckThreads(),
      CheckDataset("fashion-mnist", "dataset-fashion-mnist"),
      CheckServer(connection),
  };
  nlohmann::json list = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows;
  for (const Finding& finding : findings) {
    list.push_back({{"grade", GradeName(finding.grade)},
                    {"subject", finding.subject},
                    {"detail", finding.detail}});
    rows.push_back({GradeName(finding.grade), finding.subject, finding.detail});
  }
  if (console.json) {
    console.PrintJson(list);
  } else {
    console.out << FormatTable(rows);
  }
  return findings.back().grade == Grade::kBad ? ExitCode::kUnreachable : ExitCode::kDone;
}

}  // namespace tributary::op
