#include "tests/golden/golden.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

std::string SourcePath(absl::string_view path) {
  const char* const root = std::getenv("TRIBUTARY_SOURCE_DIR");
  return absl::StrCat(root == nullptr ? "." : root, "/", path);
}

void ExpectGolden(absl::string_view path, const std::string& text) {
  const std::string file = SourcePath(path);
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {
    std::ofstream(file, std::ios::binary) << text;
    return;
  }
  ASSERT_TRUE(std::filesystem::exists(file)) << file << " is missing";
  EXPECT_EQ(ReadFile(file), text) << "differs from " << path;
}

int ExpectGoldenErrors(absl::string_view folder, absl::string_view suffix,
                       const std::function<absl::Status(const std::string& path)>& read) {
  const std::string root = SourcePath(folder);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (absl::string_view(name).substr(name.find('.')) == suffix) names.push_back(name);
  }
  absl::c_sort(names);
  for (const std::string& name : names) {
    const absl::Status status = read(absl::StrCat(root, "/", name));
    EXPECT_FALSE(status.ok()) << name << " was accepted";
    const std::string message =
        absl::StrReplaceAll(status.message(), {{absl::StrCat(root, "/"), ""}});
    ExpectGolden(absl::StrCat(folder, "/", name.substr(0, name.find('.')), ".expected"),
                 message + "\n");
  }
  return static_cast<int>(names.size());
}

}  // namespace tributary::test
