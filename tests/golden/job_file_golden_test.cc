#include "gtest/gtest.h"
#include "server/coordinator/job_file.h"
#include "tests/golden/golden.h"

namespace tributary {
namespace {

TEST(JobFileGoldenTest, BadJobsAreRefusedWithTheseWords) {
  const int files =
      test::ExpectGoldenErrors("tests/golden/bad_jobs", ".yaml",
                               [](const std::string& path) { return ReadJobFile(path).status(); });
  EXPECT_GE(files, 30);
}

TEST(JobFileGoldenTest, TheOptionsReferenceIsUpToDate) {
  test::ExpectGolden("docs/job_file.md", JobFileMarkdown());
}

}  // namespace
}  // namespace tributary
