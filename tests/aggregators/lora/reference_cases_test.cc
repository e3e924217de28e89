// Two cases of the authors' server (ATP-1010/FederatedLLM, fed_utils/model_aggregation.py) with
// five clients: stacking at one rank, and padding to the highest of mixed ranks. Of both come the
// factors sent, Σ p·B·A in double, and the product of the factors that the authors' server made.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/aggregators/lora/adapters.h"

namespace tributary {
namespace {

class LoraReferenceTest : public ::testing::Test {
 protected:
  LoraReferenceTest() {
    std::ifstream file(absl::StrCat(std::getenv("TRIBUTARY_SOURCE_DIR"),
                                    "/tests/aggregators/lora/testdata/reference_cases.json"));
    const nlohmann::json all = nlohmann::json::parse(file);
    for (const auto& one : all["cases"]) cases_[one["name"]] = one;
  }

  // ‖got − the named product‖ / ‖it‖, the largest over the modules.
  double Error(const std::string& rule, const std::string& name, const std::string& product) {
    const nlohmann::json& one = cases_.at(name);
    double worst = 0;
    for (const auto& module : one["modules"]) {
      std::vector<AdapterUpdate> updates;
      for (size_t k = 0; k < one["ranks"].size(); ++k) {
        const LowRank x{.rows = one["rows"],
                        .columns = one["columns"],
                        .rank = one["ranks"][k],
                        .b = module["b"][k],
                        .a = module["a"][k]};
        updates.push_back(test::UpdateOf(static_cast<WorkOrderId>(k), one["examples"][k], x));
      }
      const test::Rows got =
          test::Combined(rule, test::DepsFor(one["rows"], one["columns"]), updates);
      test::Rows want = got;
      auto next = module[product].begin();
      for (auto& row : want) {
        for (double& v : row) v = *next++;
      }
      worst = std::max(worst, test::RelativeError(got, want));
    }
    return worst;
  }

  std::map<std::string, nlohmann::json> cases_;
};

TEST_F(LoraReferenceTest, StackingIsTheirsAndExact) {
  EXPECT_LE(Error("lora_stacking", "stack_homo", "exact"), 1e-6);
  EXPECT_LE(Error("lora_stacking", "stack_homo", "reference_product"), 1e-6);
  EXPECT_LE(Error("lora_stacking", "zeropad_heter", "exact"), 1e-6);
}

TEST_F(LoraReferenceTest, ZeroPaddingIsTheirsAndNotExact) {
  EXPECT_LE(Error("lora_zero_padding", "zeropad_heter", "reference_product"), 1e-6);
  EXPECT_GT(Error("lora_zero_padding", "zeropad_heter", "exact"), 0.5);
}

}  // namespace
}  // namespace tributary
