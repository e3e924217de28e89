#include "server/coordinator/job_spec.h"

#include <string>

#include "absl/strings/str_split.h"
#include "common/codec/codec_registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::tributary::test::IsOk;
using ::tributary::test::IsOkAndHolds;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

nlohmann::json Minimal() {
  return nlohmann::json::parse(R"({
    "name": "demo", "model": {"builtin": {"name": "mlp"}}, "train": {},
    "scheduler": "sync_round", "stop": {"versions": 10}})");
}

absl::StatusOr<JobSpec> FromJson(const nlohmann::json& json) {
  return ParseJobSpec(config::NodeFromJson(json));
}

absl::StatusOr<JobSpec> With(const char* patch) {
  nlohmann::json json = Minimal();
  json.merge_patch(nlohmann::json::parse(patch));
  return FromJson(json);
}

TEST(JobSpecTest, FiveSectionsSuffice) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, FromJson(Minimal()));
  EXPECT_EQ(spec.name, "demo");
  EXPECT_EQ(spec.seed, 1);
  EXPECT_EQ(spec.train.optimizer.name, "sgd");
  EXPECT_EQ(spec.train.batch_size, 32);
  EXPECT_EQ(spec.scheduler.name, "sync_round");
  EXPECT_EQ(spec.aggregation.combine.name, "fedavg");
  EXPECT_EQ(spec.aggregation.optimizer.name, "sgd");
  EXPECT_TRUE(spec.codec.empty());
  EXPECT_EQ(spec.evaluate.every_versions, 1);
  EXPECT_EQ(spec.evaluate.by, "evaluators");
  EXPECT_EQ(spec.liveness_seconds, absl::Minutes(5));
  EXPECT_EQ(spec.keep_versions, 10);
}

TEST(JobSpecTest, WhatHasNoDefaultIsRequired) {
  const absl::Status status = ParseJobSpecJson("{}").status();
  const std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  EXPECT_THAT(lines,
              ElementsAre(StartsWith("job.name: required"), StartsWith("job.model: required"),
                          StartsWith("job.train: required"),
                          StartsWith("job.scheduler: required but missing; allowed: one of ")));
}

TEST(JobSpecTest, AJobEndsByItsStopOrByTheEndOfItsTasks) {
  nlohmann::json json = Minimal();
  json.erase("stop");
  EXPECT_THAT(FromJson(json),
              StatusIs(Code::kInvalidArgument, StartsWith("job: a job needs an end")));
  json["continual"] = {{"tasks", 3}, {"versions_per_task", 5}};
  EXPECT_THAT(FromJson(json), IsOk());
  json["continual"] = {{"tasks", 3}, {"reported_share", 0.5}};
  EXPECT_THAT(FromJson(json), IsOk());
  for (const double share : {0.0, -0.5, 1.01}) {
    json["continual"]["reported_share"] = share;
    EXPECT_THAT(FromJson(json), StatusIs(Code::kInvalidArgument,
                                         StartsWith("job.continual.reported_share: out of range")));
  }
  json["continual"] = {{"tasks", 0}};
  EXPECT_THAT(FromJson(json), StatusIs(Code::kInvalidArgument, StartsWith("job.continual.tasks")));
}

TEST(JobSpecTest, ACollectionsMinimumIsWithinItsClients) {
  EXPECT_THAT(With(R"({"collection": {"clients": 3, "minimum": 3}})"), IsOk());
  EXPECT_THAT(With(R"({"collection": {"clients": 3, "minimum": 4}})"),
              StatusIs(Code::kInvalidArgument,
                       StartsWith("job.collection: minimum: found 4, allowed: at most clients")));
}

TEST(JobSpecTest, CanonicalJsonIsCompleteAndSorted) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, FromJson(Minimal()));
  const nlohmann::json json = nlohmann::json::parse(CanonicalJson(spec));
  EXPECT_EQ(json.dump(), CanonicalJson(spec));  // nlohmann's objects are sorted
  EXPECT_EQ(json["train"]["optimizer"],
            nlohmann::json::parse(
                R"({"sgd": {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0}})"));
  EXPECT_EQ(json["scheduler"]["sync_round"]["clients_per_round"], 10);
  EXPECT_EQ(json["codec"], nlohmann::json::array());
  EXPECT_FALSE(json["stop"].contains("updates"));
}

TEST(JobSpecTest, ADownlinkIsExactUnlessItNamesACodec) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec none, FromJson(Minimal()));
  EXPECT_FALSE(none.downlink.has_value());
  EXPECT_THAT(CanonicalJson(none), Not(HasSubstr("downlink")));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec exact, With(R"({"downlink": {}})"));
  EXPECT_THAT(CanonicalJson(exact), HasSubstr(R"("downlink":{"codec":[]})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec lossy, With(R"({"downlink": {"codec": ["int8"]}})"));
  EXPECT_THAT(lossy.downlink->codec, SizeIs(1));
  EXPECT_THAT(With(R"({"downlink": {"codec": ["int8", "topk"]}})").status(),
              StatusIs(Code::kInvalidArgument,
                       AllOf(HasSubstr("job.downlink.codec"), HasSubstr("'topk' comes before"))));
}

TEST(JobSpecTest, CanonicalJsonRoundTripsForEveryRegistryEntry) {
  std::vector<nlohmann::json> jobs = {Minimal()};
  for (const auto& entry : SchedulerRegistry().entries()) {
    jobs.push_back(Minimal());
    jobs.back()["scheduler"] = entry.name;
  }
  for (const auto& entry : CodecRegistry().entries()) {
    jobs.push_back(Minimal());
    jobs.back()["codec"] = {entry.name};
  }
  for (const nlohmann::json& job : jobs) {
    TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, FromJson(job));
    TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec again, ParseJobSpecJson(CanonicalJson(spec)));
    EXPECT_EQ(CanonicalJson(again), CanonicalJson(spec));
    EXPECT_EQ(ConfigDigest(again), ConfigDigest(spec));
  }
}

TEST(JobSpecTest, TheDigestSeesEveryValueAndNoSpelling) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, FromJson(Minimal()));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spelt_out,
                            With(R"({"seed": 1, "train": {"batch_size": 32},
                                     "scheduler": {"sync_round": {}}})"));
  EXPECT_EQ(ConfigDigest(spelt_out), ConfigDigest(spec));
  for (const char* patch :
       {R"({"name": "other"})", R"({"seed": 2})", R"({"train": {"local_steps": 5}})",
        R"({"stop": {"seconds": 5}})", R"({"codec": ["fp16"]})", R"({"keep_versions": 11})",
        R"({"train": {"optimizer": {"sgd": {"momentum": 1e-300}}}})"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec changed, With(patch));
    EXPECT_NE(ConfigDigest(changed), ConfigDigest(spec)) << patch;
  }
}

TEST(JobSpecTest, EachWayToStopIsEnough) {
  for (const char* stop : {R"({"versions": 1})", R"({"updates": 1})", R"({"seconds": 0.5})",
                           R"({"client_steps": 1})", R"({"target_accuracy": 1})"}) {
    nlohmann::json json = Minimal();
    json["stop"] = nlohmann::json::parse(stop);
    EXPECT_THAT(FromJson(json), IsOk()) << stop;
  }
  nlohmann::json json = Minimal();
  json["stop"] = nlohmann::json::object();
  EXPECT_THAT(FromJson(json),
              StatusIs(Code::kInvalidArgument, StartsWith("job.stop: a job needs")));
}

TEST(JobSpecTest, PoliciesAreMadeOnceToCheckTheirOptions) {
  EXPECT_THAT(With(R"({"codec": ["raw", "fp16"]})"),
              StatusIs(Code::kInvalidArgument, StartsWith("job.codec: ")));
  EXPECT_THAT(
      With(R"({"scheduler": {"sync_round": {"clients_per_round": 3, "min_reports": 4}}})"),
      StatusIs(Code::kInvalidArgument, StartsWith("job.scheduler.sync_round: min_reports")));
}

ErrorFeedback FeedbackWith(const char* patch) {
  const auto spec = With(patch);
  EXPECT_THAT(spec, IsOk());
  if (!spec.ok()) return ErrorFeedback::kOff;
  const auto feedback = ErrorFeedbackOf(*spec);
  EXPECT_THAT(feedback, IsOk());
  return feedback.value_or(ErrorFeedback::kOff);
}

TEST(JobSpecTest, ErrorFeedbackIsOnWhereTheCodecLosesSomethingUnlessTheJobSaysOtherwise) {
  EXPECT_EQ(FeedbackWith("{}"), ErrorFeedback::kOff);
  EXPECT_EQ(FeedbackWith(R"({"codec": ["raw"], "error_feedback": true})"), ErrorFeedback::kOff);
  EXPECT_EQ(FeedbackWith(R"({"codec": ["fp16"]})"), ErrorFeedback::kByExamples);
  EXPECT_EQ(FeedbackWith(R"({"codec": ["fp16"], "error_feedback": true})"),
            ErrorFeedback::kByExamples);
  EXPECT_EQ(FeedbackWith(R"({"codec": ["fp16"], "error_feedback": false})"), ErrorFeedback::kOff);
}

TEST(JobSpecTest, MomentumCorrectionComesWithErrorFeedback) {
  const char* const momentum = R"({"codec": ["topk"], "error_feedback": {"momentum": 0.9}})";
  EXPECT_EQ(FeedbackWith(momentum), ErrorFeedback(ErrorFeedback::kByExamples, 0.9));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, With(momentum));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec again, ParseJobSpecJson(CanonicalJson(spec)));
  EXPECT_EQ(CanonicalJson(again), CanonicalJson(spec));
  EXPECT_EQ(FeedbackWith(R"({"codec": ["topk"], "error_feedback": {}})"),
            ErrorFeedback::kByExamples);
  EXPECT_THAT(With(R"({"codec": ["raw"], "error_feedback": {"momentum": 0.9}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("error_feedback.momentum is 0.9")));
  EXPECT_THAT(With(R"({"codec": ["topk"], "error_feedback": {"momentum": 1}})"),
              StatusIs(Code::kInvalidArgument, StartsWith("job.error_feedback.momentum: ")));
}

TEST(JobSpecTest, ErrorFeedbackWeighsAsTheSchedulerOrElseTheCombineRuleDoes) {
  EXPECT_EQ(FeedbackWith(R"({"codec": ["fp16"],
                             "aggregation": {"combine": {"fedavg": {"weights": "uniform"}}}})"),
            ErrorFeedback::kEven);
  const auto with_scheduler = [](const char* scheduler) {
    const nlohmann::json patch = {
        {"codec", {"fp16"}},
        {"scheduler", nlohmann::json::parse(scheduler)},
        {"aggregation", {{"combine", {{"fedavg", {{"weights", "uniform"}}}}}}}};
    return FeedbackWith(patch.dump().c_str());
  };
  for (const char* scheduler : {R"({"compass": {"weights": "examples"}})", R"("tiered")"}) {
    EXPECT_EQ(with_scheduler(scheduler), ErrorFeedback::kByExamples) << scheduler;
  }
  for (const char* scheduler : {R"({"compass": {"weights": "uniform"}})", R"("fedasync")"}) {
    EXPECT_EQ(with_scheduler(scheduler), ErrorFeedback::kEven) << scheduler;
  }
  EXPECT_EQ(FeedbackWith(R"({"codec": ["fp16"], "scheduler": "fedbuff"})"), ErrorFeedback::kEven)
      << "the combine rule's weights are not used";
}

TEST(JobSpecTest, SectionsOfOtherFeaturesAreUnknownKeys) {
  for (const char* section : {"distillation", "privacy"}) {
    nlohmann::json json = Minimal();
    json[section] = nlohmann::json::object();
    EXPECT_THAT(FromJson(json),
                StatusIs(Code::kInvalidArgument,
                         HasSubstr("unknown key; allowed: the keys name, seed, model, train")));
  }
}

TEST(JobSpecTest, PruningAndOrthogonalAreShortForTransforms) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec brief,
      With(R"({"pruning": {"density": 0.5}, "aggregation": {"transforms": ["clip"]},
               "codec": [{"topk": {"fraction": 0.1}}],
               "continual": {"tasks": 3, "orthogonal": {"energy": 0.9}}})"));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec written_out,
      With(R"({"aggregation": {"transforms": [{"prune_mask": {"density": 0.5}}, "clip",
                                              {"orthogonal_projection": {"energy": 0.9}}]},
               "codec": ["masked", {"topk": {"fraction": 0.1}}], "continual": {"tasks": 3}})"));
  EXPECT_EQ(CanonicalJson(brief), CanonicalJson(written_out));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec again, ParseJobSpecJson(CanonicalJson(brief)));
  EXPECT_EQ(ConfigDigest(again), ConfigDigest(brief));
}

TEST(JobSpecTest, WhatIsShortMayNotBeThereTwice) {
  EXPECT_THAT(With(R"({"pruning": {}, "aggregation": {"transforms": ["prune_mask"]}})"),
              StatusIs(Code::kInvalidArgument,
                       AllOf(HasSubstr("with pruning"), HasSubstr("prune_mask stands twice"))));
  EXPECT_THAT(With(R"({"continual": {"orthogonal": {}}, "aggregation": {"optimizer": "adam"}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("brings back directions")));
  EXPECT_THAT(With(R"({"pruning": {"every_versions": 3}, "continual": {"orthogonal": {}}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("leave every_versions out")));
  EXPECT_THAT(With(R"({"pruning": {"quantile": 1.5}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("pruning.quantile")));
}

TEST(JobSpecTest, AHypergradientStandsAfterTheOptimizer) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec spec,
      With(R"({"aggregation": {"optimizer": "momentum"}, "hypergradient": {"bound": 2}})"));
  const AggregationSpec aggregation = AggregationOf(spec);
  ASSERT_TRUE(aggregation.hypergradient.has_value());
  EXPECT_EQ(aggregation.hypergradient->name, "hypergradient");
  EXPECT_EQ(aggregation.hypergradient->options.at("bound"), 2.0);
  EXPECT_EQ(aggregation.optimizer.name, "momentum");
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec again, ParseJobSpecJson(CanonicalJson(spec)));
  EXPECT_EQ(CanonicalJson(again), CanonicalJson(spec));
  EXPECT_TRUE(AggregationOf(again).hypergradient.has_value());
  EXPECT_FALSE(TrainOf(again).hypergradient.has_value());
}

TEST(JobSpecTest, TheClientsHypergradientMayBeSaidInBothPlacesButNotTwice) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec brief,
      With(R"({"hypergradient": {"variant": "client_local", "form": "cosine", "bound": 4}})"));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec whole, With(R"({"train": {"hypergradient": {"rule": "cosine", "bound": 4}}})"));
  EXPECT_EQ(config::Print(TrainOf(brief)), config::Print(TrainOf(whole)));
  EXPECT_FALSE(AggregationOf(brief).hypergradient.has_value());
  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec raw, With(R"({"hypergradient": {"variant": "client_local", "form": "raw"}})"));
  EXPECT_EQ(TrainOf(raw).hypergradient->rule, "displacement");
  EXPECT_THAT(With(R"({"train": {"hypergradient": {}},
                       "hypergradient": {"variant": "client_local"}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("keep one of them")));
  EXPECT_THAT(With(R"({"train": {"hypergradient": {}}, "hypergradient": {"variant": "global"}})"),
              IsOk());
}

// Both rates follow one product: the step would grow with its square.
TEST(JobSpecTest, AServerRateBesideAClientsRateIsRefused) {
  EXPECT_THAT(With(R"({"aggregation": {"optimizer": {"hypergradient": {"variant": "global"}}},
                       "hypergradient": {"variant": "server_local"}})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("grows with its square")));
  EXPECT_THAT(
      With(R"({"aggregation": {"optimizer": {"hypergradient": {"variant": "client_local"}}}})"),
      StatusIs(Code::kInvalidArgument, HasSubstr("train.hypergradient")));
}

TEST(JobSpecTest, AdaptersAreStackedUnlessTheJobSaysOtherwise) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec spec, With(R"({"lora": {"ranks": [2, 16, 4, 16]}})"));
  EXPECT_EQ(spec.aggregation.combine.name, "lora_stacking");
  EXPECT_EQ(spec.aggregation.combine.options.at("delivery"), "stacked");
  EXPECT_TRUE(spec.downlink.has_value()) << "versions travel as what has changed";
  EXPECT_THAT(spec.lora->Ranks(), ElementsAre(16, 4, 2));
  EXPECT_EQ(spec.lora->Scale(4), 4) << "alpha 16 over the rank";
  EXPECT_THAT(ErrorFeedbackOf(spec), IsOkAndHolds(ErrorFeedback::kOff));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobSpec again, ParseJobSpecJson(CanonicalJson(spec)));
  EXPECT_EQ(CanonicalJson(again), CanonicalJson(spec));

  TRIB_ASSERT_OK_AND_ASSIGN(
      const JobSpec gpt,
      With(R"({"model": {"builtin": {"name": "gpt"}}, "lora": {"rank": 8, "rslora": true},
               "aggregation": {"combine": "ffa"}})"));
  const LoraTerms terms = LoraTermsOf(gpt).value();
  EXPECT_EQ(terms.rule, "ffa");
  EXPECT_TRUE(terms.transposed_weights);
  EXPECT_NEAR(terms.spec.Scale(4), 8, 1e-12) << "alpha over the root of the rank";
  TRIB_ASSERT_OK_AND_ASSIGN(const LoraTerms sent, ParseLoraTerms(config::Print(terms).dump()));
  EXPECT_EQ(config::Print(sent), config::Print(terms));
}

TEST(JobSpecTest, WhatDoesNotGoWithAdaptersIsRefusedWithTheRemedy) {
  const auto refused = [](const char* patch, const char* why) {
    EXPECT_THAT(With(patch), StatusIs(Code::kInvalidArgument, HasSubstr(why))) << patch;
  };
  refused(R"({"lora": {}})", "exactly one of rank and ranks; found neither");
  refused(R"({"lora": {"rank": 2, "ranks": [4]}})", "found both");
  refused(R"({"lora": {"ranks": []}})", "ranks");
  refused(R"({"lora": {"rank": 0}})", "rank");
  refused(R"({"aggregation": {"combine": "flexlora"}})", "has no `lora` section");
  refused(R"({"lora": {"ranks": [4, 2]}, "aggregation": {"combine": "lora_average"}})",
          "needs one rank for all; found are 2 to 4");
  refused(R"({"lora": {"rank": 4}, "codec": ["int8"], "error_feedback": true})", "leave it out");
  refused(R"({"lora": {"rank": 4}, "train": {"hypergradient": {}}})", "global and server_local");
  refused(R"({"lora": {"rank": 4}, "pruning": {"density": 0.5}})", "nothing to prune");
  refused(R"({"lora": {"rank": 4}, "scheduler": "fedasync", "aggregation": {"combine": "ffa"}})",
          "lora_stacking does");
  refused(R"({"model": {"builtin": {"name": "gpt"}}, "continual": {"tasks": 2, "orthogonal": {}}})",
          "[inputs, outputs]");
  EXPECT_THAT(With(R"({"model": {"builtin": {"name": "gpt"}}, "lora": {"rank": 4},
                       "continual": {"tasks": 2, "orthogonal": {}}})"),
              IsOk());
  EXPECT_THAT(With(R"({"lora": {"rank": 4}, "scheduler": "fedasync"})"), IsOk());
}

TEST(JobSpecTest, TextFromTheWireIsHostile) {
  EXPECT_THAT(ParseJobSpecJson(""), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(ParseJobSpecJson("[]"),
              StatusIs(Code::kInvalidArgument, StartsWith("job: not a mapping")));
  EXPECT_THAT(ParseJobSpecJson(std::string(100'000, '{')), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(ParseJobSpecJson(R"({"name": "a", "name": "b"})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("given twice")));
}

}  // namespace
}  // namespace tributary
