#include "common/params/layer_chain.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::StatusIs;

using Tensors = std::vector<ParamLayout::Tensor>;

TEST(DeriveLayerChainTest, ReadsAMultilayerPerceptron) {
  const LayoutPtr layout = MakeLayout({{.name = "fc1.weight", .shape = {200, 784}},
                                       {.name = "fc1.bias", .shape = {200}},
                                       {.name = "fc2.weight", .shape = {10, 200}},
                                       {.name = "fc2.bias", .shape = {10}}});
  TRIB_ASSERT_OK_AND_ASSIGN(const auto chain, DeriveLayerChain(*layout));
  ASSERT_THAT(chain, SizeIs(2));
  EXPECT_EQ(chain[0].weight->name, "fc1.weight");
  EXPECT_EQ(chain[0].bias->name, "fc1.bias");
  EXPECT_EQ(chain[0].units, 200);
  EXPECT_EQ(chain[0].fan_in, 784);
  EXPECT_EQ(chain[0].block, 0);
  EXPECT_EQ(chain[1].block, 1);
}

TEST(RemoveUnitTest, TakesItsRowItsBiasAndWhatItFeeds) {
  // Two filters of 1×2 pixels, flattened to two pixels each, feed two logits.
  const LayoutPtr layout = MakeLayout({{.name = "conv.weight", .shape = {2, 1, 1, 2}},
                                       {.name = "conv.bias", .shape = {2}},
                                       {.name = "fc.weight", .shape = {2, 4}}});
  TRIB_ASSERT_OK_AND_ASSIGN(const auto chain, DeriveLayerChain(*layout));
  std::vector<bool> keep(14, true);
  RemoveUnit(chain, 0, 1, keep);
  EXPECT_EQ(keep, (std::vector<bool>{true, true, false, false, true, false,  //
                                     true, true, false, false, true, true, false, false}));
}

TEST(DeriveLayerChainTest, ReadsAConvolutionalNetworkWithAndWithoutBiases) {
  const LayoutPtr layout = MakeLayout({{.name = "conv1.weight", .shape = {16, 1, 5, 5}},
                                       {.name = "conv1.bias", .shape = {16}},
                                       {.name = "conv2.weight", .shape = {32, 16, 5, 5}},
                                       {.name = "fc1.weight", .shape = {128, 288}},
                                       {.name = "fc1.bias", .shape = {128}},
                                       {.name = "fc2.weight", .shape = {10, 128}},
                                       {.name = "steps", .kind = TensorKind::kBuffer}});
  TRIB_ASSERT_OK_AND_ASSIGN(const auto chain, DeriveLayerChain(*layout));
  ASSERT_THAT(chain, SizeIs(4));
  EXPECT_EQ(chain[1].bias, nullptr);
  EXPECT_EQ(chain[1].block, 25) << "a kernel";
  EXPECT_EQ(chain[2].block, 9) << "the pixels of a channel";
  EXPECT_EQ(chain[3].block, 1);
}

TEST(DeriveLayerChainTest, RefusesWhatIsNoPlainChainAndSaysWhy) {
  const ParamLayout::Tensor fc1{.name = "fc1.weight", .shape = {8, 4}};
  const std::vector<std::pair<Tensors, const char*>> bad = {
      {{{.name = "conv1.weight", .shape = {8, 1, 3, 3}}, {.name = "gn1.weight", .shape = {8}}},
       "gn1.weight [8] is not the bias"},
      {{fc1, {.name = "fc1.bias", .shape = {4}}}, "fc1.bias [4] is not the bias"},
      {{fc1, {.name = "fc2.weight", .shape = {2, 9}}},
       "fc2.weight [2, 9] does not take what fc1.weight [8, 4] gives"},
      {{{.name = "conv.weight", .shape = {8, 1, 3, 3}}, {.name = "fc.weight", .shape = {2, 17}}},
       "fc.weight [2, 17] does not take"},
      {{{.name = "conv.weight", .shape = {8, 1, 3, 3}},
        {.name = "depthwise.weight", .shape = {8, 1, 3, 3}}},
       "depthwise.weight [8, 1, 3, 3] does not take"},
      {{fc1, {.name = "conv.weight", .shape = {4, 8, 1, 1}}}, "conv.weight [4, 8, 1, 1] does not"},
      {{fc1, {.name = "bn.running_mean", .shape = {8}, .kind = TensorKind::kBuffer}},
       "bn.running_mean [8] is a buffer"},
      {{fc1, {.name = "none.weight", .shape = {0, 8}}}, "none.weight [0, 8] is empty"},
      {{fc1}, "one layer"},
  };
  for (const auto& [tensors, reason] : bad) {
    EXPECT_THAT(DeriveLayerChain(*MakeLayout(tensors)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(reason)));
  }
}

// The built-in residual network: its norms are the first to tie channels together, and without
// them the shortcut's convolution does not fit.
TEST(DeriveLayerChainTest, RefusesAResidualNetwork) {
  const Tensors convolutions = {{.name = "conv1.weight", .shape = {16, 1, 3, 3}},
                                {.name = "layer1.0.conv1.weight", .shape = {32, 16, 3, 3}},
                                {.name = "layer1.0.conv2.weight", .shape = {32, 32, 3, 3}},
                                {.name = "layer1.0.downsample.weight", .shape = {32, 16, 1, 1}},
                                {.name = "fc.weight", .shape = {10, 32}}};
  EXPECT_THAT(DeriveLayerChain(*MakeLayout(convolutions)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("downsample"), HasSubstr("prune single weights"))));
}

}  // namespace
}  // namespace tributary
