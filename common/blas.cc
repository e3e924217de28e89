#include "common/blas.h"

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/log.h"

namespace tributary {

std::string BlasProblem(absl::string_view path) {
  std::string problem = "not OpenBLAS, training may be ten times slower";
  if (absl::StrContains(path, "openblas-openmp")) return "";
  if (absl::StrContains(path, "openblas-serial")) problem = "wrong products from several threads";
  if (absl::StrContains(path, "openblas-pthread")) problem = "slow with several callers";
  return absl::StrCat(problem, "; apt-get install libopenblas0-openmp");
}

std::string LoadedBlas(absl::string_view maps) {
  std::string openblas;
  for (const absl::string_view line : absl::StrSplit(maps, '\n')) {
    const size_t start = line.find('/');
    if (start == absl::string_view::npos) continue;
    const absl::string_view path = line.substr(start);
    const absl::string_view name = path.substr(path.rfind('/') + 1);
    // LibTorch asks for libblas; another library may have brought libopenblas along.
    if (absl::StartsWith(name, "libblas.so")) return std::string(path);
    if (absl::StartsWith(name, "libopenblas")) openblas = std::string(path);
  }
  return openblas;
}

void WarnOfBadBlas() {
  std::stringstream maps;
  maps << std::ifstream("/proc/self/maps").rdbuf();
  const std::string path = LoadedBlas(maps.str());
  if (path.empty()) return;
  const std::string problem = BlasProblem(path);
  if (!problem.empty()) log::Warning("BLAS", {{"library", path}, {"problem", problem}});
}

}  // namespace tributary
