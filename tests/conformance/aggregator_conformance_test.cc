// What every aggregator promises (aggregators/combine/aggregator.h), over every registry entry:
// with its default options and with those of kOptions.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/combine/aggregator.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/thread_parallel.h"

namespace tributary {
namespace {

using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::MakeUpdate;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using ::tributary::test::ThreadParallel;

constexpr int64_t kUpdates = 9;

const std::vector<std::pair<const char*, const char*>> kOptions = {
    {"fedavg", R"({"weights": "uniform"})"},
    {"fedavg", R"({"staleness": "polynomial"})"},
    {"fedavg", R"({"staleness": {"hinge": {"slope": 2, "tolerance": 1}}})"},
};

struct Case {
  config::Choice choice;
  std::string name;
  bool given_coefficients = false;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const auto& entry : AggregatorRegistry().entries()) {
    const config::Choice defaults{entry.name, nlohmann::json::object(), {}};
    cases.push_back({defaults, absl::StrCat(entry.name, "_defaults")});
    // A rule that cannot do without weights of its own says so.
    const AggregatorDeps given{.layout = nullptr, .parallel = nullptr, .given_coefficients = true};
    if (AggregatorRegistry().Create(defaults, given).ok()) {
      cases.push_back({defaults, absl::StrCat(entry.name, "_given"), true});
    }
    for (const auto& [name, options] : kOptions) {
      if (entry.name != name) continue;
      cases.push_back({{.name = name, .options = nlohmann::json::parse(options), .position = {}},
                       absl::StrCat(name, "_options", cases.size())});
    }
  }
  return cases;
}

class AggregatorConformanceTest : public ::testing::TestWithParam<Case> {
 protected:
  AggregatorConformanceTest() {
    Rng rng(11);
    for (int64_t i = 0; i < kUpdates; ++i) {
      updates_.push_back(MakeUpdate(
          RandomParams(layout_, static_cast<uint64_t>(100 + i)),
          {.work_order = i + 1, .num_examples = 1 + rng.UniformInt(500), .local_steps = 5}));
    }
  }

  std::unique_ptr<Aggregator> Make(Parallel* parallel = nullptr, LayoutPtr layout = nullptr) {
    auto made = AggregatorRegistry().Create(GetParam().choice,
                                            {.layout = layout ? layout : layout_,
                                             .parallel = parallel,
                                             .given_coefficients = GetParam().given_coefficients});
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
  void Accumulate(int64_t first, int64_t last, Aggregator& aggregator) {
    for (int64_t i = first; i < last; ++i) {
      ASSERT_THAT(aggregator.Accumulate(updates_[static_cast<size_t>(i)],
                                        {.client = ClientId("c"),
                                         .staleness = i % 3,
                                         .coefficient = 0.1 * static_cast<double>(1 + i % 4)}),
                  IsOk());
    }
  }
  static Aggregate Finish(std::unique_ptr<Aggregator> aggregator) {
    auto finished = std::move(*aggregator).Finish();
    EXPECT_THAT(finished, IsOk());
    return *std::move(finished);
  }
  Aggregate All(Parallel* parallel = nullptr) {
    auto aggregator = Make(parallel);
    Accumulate(0, kUpdates, *aggregator);
    return Finish(std::move(aggregator));
  }
  static void ExpectSame(const Aggregate& a, const Aggregate& b, double tolerance) {
    EXPECT_THAT(a.delta, ParamsNear(b.delta, tolerance));
    EXPECT_EQ(a.updates, b.updates);
    EXPECT_EQ(a.num_examples, b.num_examples);
    EXPECT_NEAR(a.weight, b.weight, 1e-9 * b.weight);
  }

  const LayoutPtr layout_ = FlatLayout(50021, 7);
  std::vector<Update> updates_;
};

TEST_P(AggregatorConformanceTest, CountsWhatItWasGiven) {
  const Aggregate all = All();
  int64_t num_examples = 0;
  for (const Update& update : updates_) num_examples += update.info.num_examples;
  EXPECT_EQ(all.updates, kUpdates);
  EXPECT_EQ(all.num_examples, num_examples);
  EXPECT_GT(all.weight, 0);
  EXPECT_EQ(all.delta.layout()->digest(), layout_->digest());
}

TEST_P(AggregatorConformanceTest, TheSameOrderGivesTheSameBitsOnAnyNumberOfThreads) {
  const Aggregate serial = All();
  for (int64_t threads = 1; threads <= 4; ++threads) {
    ThreadParallel parallel(threads);
    ExpectSame(All(&parallel), serial, 0);
  }
}

TEST_P(AggregatorConformanceTest, AnotherOrderGivesTheSameUpToRounding) {
  auto backwards = Make();
  for (int64_t i = kUpdates; i-- > 0;) Accumulate(i, i + 1, *backwards);
  ExpectSame(Finish(std::move(backwards)), All(), 1e-5);
}

TEST_P(AggregatorConformanceTest, MergedPartsEqualTheWhole) {
  const Aggregate serial = All();
  for (int64_t cut = 0; cut <= kUpdates; ++cut) {
    auto left = Make(), right = Make();
    Accumulate(0, cut, *left);
    Accumulate(cut, kUpdates, *right);
    ASSERT_THAT(left->MergeFrom(*right), IsOk());
    ExpectSame(Finish(std::move(left)), serial, 1e-5);
  }
}

TEST_P(AggregatorConformanceTest, GoesOnAfterSerializeAndRestoreToTheBit) {
  const Aggregate serial = All();
  for (int64_t cut = 0; cut <= kUpdates; ++cut) {
    auto before = Make(), after = Make();
    Accumulate(0, cut, *before);
    ASSERT_THAT(after->Restore(before->Serialize()), IsOk());
    EXPECT_EQ(after->Serialize(), before->Serialize());
    Accumulate(cut, kUpdates, *after);
    ExpectSame(Finish(std::move(after)), serial, 0);
  }
}

TEST_P(AggregatorConformanceTest, RestoreReplacesWhatWasThere) {
  auto used = Make();
  Accumulate(3, 5, *used);
  ASSERT_THAT(used->Restore(Make()->Serialize()), IsOk());
  Accumulate(0, kUpdates, *used);
  ExpectSame(Finish(std::move(used)), All(), 0);
}

TEST_P(AggregatorConformanceTest, ABadUpdateLeavesTheStateUnchanged) {
  auto aggregator = Make();
  Accumulate(0, 3, *aggregator);
  const std::string before = aggregator->Serialize();
  for (const int64_t examples : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    Update bad = MakeUpdate(RandomParams(layout_, 1), {.num_examples = examples});
    EXPECT_THAT(aggregator->Accumulate(bad, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  for (const size_t buffers : {size_t{0}, size_t{6}, size_t{8}}) {
    Update bad = MakeUpdate(RandomParams(layout_, 1), {.num_examples = 1});
    bad.buffers.resize(buffers);
    EXPECT_THAT(aggregator->Accumulate(bad, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_EQ(aggregator->Serialize(), before);
}

TEST_P(AggregatorConformanceTest, AnUnfitPartLeavesTheStateUnchanged) {
  auto aggregator = Make();
  Accumulate(0, 3, *aggregator);
  const std::string before = aggregator->Serialize();
  EXPECT_THAT(aggregator->MergeFrom(*Make(nullptr, FlatLayout(50020, 8))),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(aggregator->Serialize(), before);
}

TEST_P(AggregatorConformanceTest, DamagedStateIsDataLossAndChangesNothing) {
  const LayoutPtr layout = FlatLayout(3, 1);
  auto aggregator = Make(nullptr, layout);
  ASSERT_THAT(aggregator->Accumulate(MakeUpdate(RandomParams(layout, 1), {.num_examples = 4}), {}),
              IsOk());
  const std::string good = aggregator->Serialize();
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_THAT(aggregator->Restore(good.substr(0, length)), StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_THAT(aggregator->Restore(good + "x"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(aggregator->Serialize(), good);
  // A flipped bit is either found or harmless: never a crash, never a half-read state.
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const absl::Status status = aggregator->Restore(flipped);
    if (status.ok()) {
      EXPECT_EQ(aggregator->Serialize(), flipped);
      ASSERT_THAT(aggregator->Restore(good), IsOk());
    } else {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
      ASSERT_EQ(aggregator->Serialize(), good);
    }
  }
}

TEST_P(AggregatorConformanceTest, RefusesToFinishWithoutUpdates) {
  EXPECT_THAT(std::move(*Make()).Finish().status(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

INSTANTIATE_TEST_SUITE_P(Registry, AggregatorConformanceTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
