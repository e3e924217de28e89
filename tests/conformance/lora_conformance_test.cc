// What every rule for adapters promises within a job (aggregators/lora/lora_aggregator.h), over
// every registry entry: clients train adapters, their updates travel in the job's codec, and the
// executor makes versions of them.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/codec/adapter_update.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator/job_executor.h"
#include "server/store/delivery.h"
#include "server/store/memory_store.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/server/coordinator/controller_host.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::At;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::MakeParams;
using ::tributary::test::ParamsNear;
using ::tributary::test::Plus;
using ::tributary::test::ProductOf;
using ::tributary::test::RandomParams;
using ::tributary::test::RelativeError;
using ::tributary::test::Rows;
using ::tributary::test::Spec;
using ::tributary::test::StatusIs;
using ::tributary::test::Unflat;
using ::tributary::test::Zeros;

const JobId kJob("job");
constexpr int64_t kVersions = 4;

// Two linear layers of which one is square, a convolution, and what has no adapter.
LayoutPtr Layout() {
  return MakeLayout({{"q_proj.weight", {48, 48}},
                     {"q_proj.bias", {48}},
                     {"up.weight", {64, 48}},
                     {"conv.weight", {24, 4, 3, 3}},
                     {"head.weight", {5, 48}},
                     {"bn.mean", {4}, TensorKind::kBuffer}});
}

class Payloads final : public UpdateSource {
 public:
  absl::StatusOr<PayloadBytes> Payload(WorkOrderId id) override { return payloads.at(id); }
  std::map<WorkOrderId, std::string> payloads;
};

class LoraConformanceTest : public ::testing::TestWithParam<std::string> {
 protected:
  // Rules that average the factors of clients need one rank.
  bool OneRank() const {
    static const std::set<std::string> one = {"lora_average", "fedex", "lora_fair"};
    return one_rank_ || one.contains(GetParam());
  }

  void Start(nlohmann::json changes = nlohmann::json::object()) {
    nlohmann::json lora = {{"alpha", 4}, {"targets", {"q_proj", "up", "conv"}}};
    if (OneRank()) {
      lora["rank"] = 3;
    } else {
      lora["ranks"] = {4, 2, 1};
    }
    changes["lora"] = lora;
    changes["aggregation"]["combine"] = GetParam();
    spec_ = Spec(std::move(changes));
    store_ = std::make_unique<MemoryStore>();
    ASSERT_THAT(store_->PutJob({.id = kJob}), IsOk());
    executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
    ASSERT_THAT(executor_->Install(RandomParams(Layout(), 1, 0.3F), At(0)), IsOk());
    plan_ = executor_->adapters();
  }

  ParamVector Model(Version version) { return store_->LoadModel(kJob, version).value(); }

  struct Trained {
    UpdateInfo info;
    uint64_t seed = 0;
    std::string payload;
    ParamVector start, adapter;
  };
  // What a client that got this order would bring: every value that it may train has moved.
  Trained Train(WorkOrderId id, Version base, int64_t rank) {
    Trained trained{.seed = 1000 + static_cast<uint64_t>(id)};
    trained.info = {.work_order = id,
                    .base_version = base,
                    .num_examples = 10 * id,
                    .local_steps = 1,
                    .adapter_rank = rank};
    const AdapterOrder order{.plan = *plan_, .rank = rank, .base = base, .seed = trained.seed};
    trained.start = BeginAdapter(order, Model(base), nullptr);
    trained.adapter = trained.start.Clone();
    ParamVector moved(plan_->AdapterLayout(rank, plan_->rule().TrainsFrom(base)));
    CopyShared(trained.start, moved);
    AddScaled(1.0F, RandomParams(moved.layout(), trained.seed, 0.1F).values(), moved.values());
    for (const auto& tensor : moved.layout()->tensors()) {
      std::ranges::copy(moved.View(tensor.name), trained.adapter.View(tensor.name).begin());
    }
    const auto codec = CreateCodec(spec_.codec).value();
    trained.payload = EncodeAdapter(*codec, order, trained.start, trained.adapter).payload;
    return trained;
  }
  action::PublishVersion::Part Part(const Trained& trained, Version newest) {
    updates_.payloads[trained.info.work_order] = trained.payload;
    return {.info = trained.info,
            .client = ClientId("c"),
            .staleness = newest - trained.info.base_version,
            .seed = trained.seed};
  }
  std::vector<int64_t> Ranks() const {
    return OneRank() ? std::vector<int64_t>{3, 3, 3} : std::vector<int64_t>{4, 1, 2};
  }
  // One version of three clients' adapters; returns what they trained.
  std::vector<Trained> PublishNext() {
    const Version base = newest_;
    action::PublishVersion what{.version = base + 1};
    std::vector<Trained> all;
    for (const int64_t rank : Ranks()) {
      all.push_back(Train(++orders_, base, rank));
      EXPECT_THAT(executor_->Check(all.back().info, all.back().payload, all.back().seed), IsOk());
      what.parts.push_back(Part(all.back(), base));
    }
    const auto published = executor_->Publish(what, updates_, At(1));
    EXPECT_THAT(published, IsOk());
    newest_ = base + 1;
    return all;
  }
  // Of a module, what the frozen weight and the kept adapter amount to.
  Rows Effective(const ParamVector& model, const std::string& weight) const {
    const ParamVector merged = plan_->Merged(model);
    const ParamLayout::Tensor* const tensor = merged.layout()->Find(weight);
    return Unflat(std::as_const(merged).View(weight), tensor->size / tensor->shape[0]);
  }

  bool one_rank_ = false;
  JobSpec spec_;
  Payloads updates_;
  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<JobExecutor> executor_;
  std::shared_ptr<const LoraPlan> plan_;
  Version newest_ = 0;
  WorkOrderId orders_ = 0;
};

TEST_P(LoraConformanceTest, TheFirstVersionIsTheModelThatWasGiven) {
  Start();
  EXPECT_THAT(plan_->Merged(Model(0)), ParamsNear(RandomParams(Layout(), 1, 0.3F), 0))
      << "B begins at 0";
}

TEST_P(LoraConformanceTest, OnlyAdaptedModulesMove) {
  Start();
  for (Version v = 1; v <= kVersions; ++v) PublishNext();
  const ParamVector first = plan_->Merged(Model(0)), last = plan_->Merged(Model(newest_));
  for (const char* frozen : {"q_proj.bias", "head.weight", "bn.mean"}) {
    EXPECT_THAT(last.View(frozen), ParamsNear(first.View(frozen), 0)) << frozen;
  }
  if (plan_->rule().own_b()) return;  // what moves is each client's own
  for (const char* moved : {"q_proj.weight", "up.weight", "conv.weight"}) {
    EXPECT_GT(RelativeError(Effective(Model(newest_), moved), Effective(Model(0), moved)), 1e-3)
        << moved;
  }
}

TEST_P(LoraConformanceTest, ARuleThatMovesNoWeightsLeavesThemToTheBit) {
  Start();
  for (Version v = 1; v <= kVersions; ++v) PublishNext();
  if (plan_->rule().moves_weights) return;
  const ParamVector first = Model(0), last = Model(newest_);
  for (const LoraModule& module : plan_->modules()) {
    EXPECT_THAT(last.View(module.weight), ParamsNear(first.View(module.weight), 0));
  }
}

class ExactLoraRuleTest : public LoraConformanceTest {};

// The next effective weight is this one plus Σ p·s·(B·A − B_0·A_0), in double.
TEST_P(ExactLoraRuleTest, AddsTheWeightedSumOfTheProducts) {
  // A client of a lower rank does not see the rest of an adapter that is kept.
  one_rank_ = GetParam() != "lora_stacking";
  Start();
  Start();
  for (Version v = 1; v <= kVersions; ++v) {
    const ParamVector before = Model(newest_);
    const std::vector<Trained> all = PublishNext();
    double weight = 0;
    for (const Trained& t : all) weight += static_cast<double>(t.info.num_examples);
    for (const LoraModule& module : plan_->modules()) {
      Rows sum = Zeros(module.rows, module.columns);
      for (const Trained& t : all) {
        const int64_t rank = t.info.adapter_rank;
        const double share =
            static_cast<double>(t.info.num_examples) / weight * plan_->spec().Scale(rank);
        sum = Plus(sum, ProductOf(plan_->FactorsOf(t.adapter, rank).at(module.name)), share);
        sum = Plus(sum, ProductOf(plan_->FactorsOf(t.start, rank).at(module.name)), -share);
      }
      const Rows moved =
          Plus(Effective(Model(newest_), module.weight), Effective(before, module.weight), -1);
      EXPECT_LT(RelativeError(moved, sum), 2e-5) << module.name << ", version " << v;
    }
  }
}

TEST_P(LoraConformanceTest, ClientsMakeEachVersionOfTheOneBeforeToTheBit) {
  for (const char* codec : {"", "fp16"}) {
    nlohmann::json changes = nlohmann::json::object();
    if (*codec != '\0') changes["downlink"]["codec"] = {codec};
    Start(changes);
    newest_ = 0;
    for (Version v = 1; v <= kVersions; ++v) {
      PublishNext();
      const VersionRecord before = store_->GetVersion(kJob, v - 1).value();
      const VersionRecord after = store_->GetVersion(kJob, v).value();
      const auto delivery =
          OpenDelivery(*store_, kJob, v, HeldVersion{v - 1, before.model_digest}).value();
      ASSERT_EQ(delivery->deltas().size(), 1U) << "it travels as what has changed";
      std::string delta;
      ASSERT_THAT(delivery->Read(0, delivery->size_bytes(), delta), IsOk());
      ParamVector model = Model(v - 1);
      const auto steps = AdapterStepCodec::Create(*spec_.downlink, *LoraTermsOf(spec_)).value();
      ASSERT_THAT(steps->Apply(v, delta, model), IsOk());
      EXPECT_EQ(model.ComputeDigest(), after.model_digest) << codec << ", version " << v;
    }
  }
}

TEST_P(LoraConformanceTest, GoesOnFromTheStoreToTheBit) {
  Start();
  for (Version v = 1; v <= 2; ++v) PublishNext();
  executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
  ASSERT_THAT(executor_->Restore(), IsOk());
  for (Version v = 3; v <= kVersions; ++v) PublishNext();
  const Digest restarted = store_->GetVersion(kJob, newest_)->model_digest;

  newest_ = 0, orders_ = 0;
  Start();
  for (Version v = 1; v <= kVersions; ++v) PublishNext();
  EXPECT_EQ(store_->GetVersion(kJob, newest_)->model_digest, restarted);
}

TEST_P(LoraConformanceTest, QuantisedFactorsComeThrough) {
  Start({{"codec", {"fp16", "zstd"}}});
  for (Version v = 1; v <= kVersions; ++v) PublishNext();
  const ParamVector last = Model(newest_);
  EXPECT_THAT(CheckFinite(*last.layout(), last.values()), IsOk());
}

TEST_P(LoraConformanceTest, BadUpdatesAreRefusedAndChangeNothing) {
  Start();
  const int64_t rank = Ranks()[0];
  Trained good = Train(1, 0, rank);
  const auto check = [&](const UpdateInfo& info, std::string payload) {
    return executor_->Check(info, std::move(payload), good.seed);
  };
  ASSERT_THAT(check(good.info, good.payload), IsOk());
  UpdateInfo info = good.info;
  info.adapter_rank = 99;
  EXPECT_THAT(check(info, good.payload),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("adapter_rank is 99")));
  EXPECT_THAT(check(good.info, good.payload.substr(4)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::string nan = good.payload;
  std::fill_n(nan.begin(), 4, '\xff');
  EXPECT_THAT(check(good.info, nan), StatusIs(absl::StatusCode::kOutOfRange));

  // All values of what is sent are huge: so is every product.
  ParamVector huge(plan_->AdapterLayout(rank, plan_->rule().SendsFrom(0)));
  std::ranges::fill(huge.values(), 1e9F);
  const auto codec = CreateCodec(spec_.codec).value();
  const absl::Status large =
      check(good.info, EncodeUpdate(*codec, huge, {.layout = huge.layout()}));
  EXPECT_THAT(large, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("norm")));
  EXPECT_EQ(ClassifyRefusal(large), LossCause::kTooLarge);

  PublishNext();
  const Digest after = store_->GetVersion(kJob, 1)->model_digest;
  newest_ = 0, orders_ = 0;
  Start();
  PublishNext();
  EXPECT_EQ(store_->GetVersion(kJob, 1)->model_digest, after);
}

class LoraCoefficientsTest : public LoraConformanceTest {};

TEST_P(LoraCoefficientsTest, StaleAdaptersCountAsTheSchedulerSays) {
  Start();
  const Trained a = Train(1, 0, 4), b = Train(2, 0, 2);
  action::PublishVersion what{.version = 1, .parts = {Part(a, 0)}, .given_coefficients = true};
  what.parts[0].coefficient = 0.5;
  ASSERT_THAT(executor_->Publish(what, updates_, At(1)), IsOk());
  what = {.version = 2, .parts = {Part(b, 1)}, .given_coefficients = true};
  what.parts[0].coefficient = 0.25;
  ASSERT_THAT(executor_->Publish(what, updates_, At(2)), IsOk());
  for (const LoraModule& module : plan_->modules()) {
    Rows want = Zeros(module.rows, module.columns);
    want = Plus(want, ProductOf(plan_->FactorsOf(a.adapter, 4).at(module.name)),
                0.5 * plan_->spec().Scale(4));
    want = Plus(want, ProductOf(plan_->FactorsOf(b.adapter, 2).at(module.name)),
                0.25 * plan_->spec().Scale(2));
    EXPECT_LT(
        RelativeError(
            Plus(Effective(Model(2), module.weight), Effective(Model(0), module.weight), -1), want),
        2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Exact, ExactLoraRuleTest,
                         ::testing::Values("lora_stacking", "ffa", "fedex", "rolora"));
INSTANTIATE_TEST_SUITE_P(TakesCoefficients, LoraCoefficientsTest,
                         ::testing::Values("lora_stacking"));
INSTANTIATE_TEST_SUITE_P(AllRules, LoraConformanceTest, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& entry : LoraAggregatorRegistry().entries())
                             names.push_back(entry.name);
                           return names;
                         }()),
                         [](const auto& rule) { return rule.param; });

}  // namespace
}  // namespace tributary
