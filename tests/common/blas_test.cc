#include "common/blas.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Map(const std::string& file) {
  return absl::StrCat("7f29b5197000-7f29b5300000 r-xp 00001000 fe:00 5366126    ", file, "\n");
}
const std::string kOthers = Map("/usr/bin/tributary-sim") + "7ffd12-7ffd34 rw-p 0 0:0 0 [stack]\n" +
                            "7f12-7f34 rw-p 00000000 00:00 0\n";

TEST(BlasTest, TheOpenMpBuildIsTheGoodOne) {
  EXPECT_THAT(BlasProblem("/usr/lib/x86_64-linux-gnu/openblas-openmp/libblas.so.3"), IsEmpty());
  for (const auto& [folder, why] :
       {std::pair("blas", "ten times slower"), std::pair("atlas", "not OpenBLAS"),
        std::pair("openblas-serial", "wrong products"), std::pair("openblas-pthread", "slow")}) {
    EXPECT_THAT(BlasProblem(absl::StrCat("/usr/lib/x86_64-linux-gnu/", folder, "/libblas.so.3")),
                AllOf(HasSubstr(why), HasSubstr("apt-get install libopenblas0-openmp")));
  }
}

TEST(BlasTest, FindsTheLibraryThatLibTorchCalls) {
  const std::string reference = "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0";
  const std::string openblas = "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblasp-r0.3.21.so";
  EXPECT_EQ(LoadedBlas(kOthers + Map(reference)), reference);
  EXPECT_EQ(LoadedBlas(Map(openblas) + kOthers), openblas);
  EXPECT_EQ(LoadedBlas(Map(openblas) + Map(reference)), reference);
  EXPECT_EQ(LoadedBlas(Map("/opt/with a space/libblas.so.3")), "/opt/with a space/libblas.so.3");
}

TEST(BlasTest, OtherFilesAreNoBlas) {
  EXPECT_THAT(LoadedBlas(kOthers + Map("/usr/lib/libgslcblas.so.0") + Map("/home/libblas/a.so")),
              IsEmpty());
  EXPECT_THAT(LoadedBlas(""), IsEmpty());
}

}  // namespace
}  // namespace tributary
