#include "schedulers/task_time.h"

#include "gtest/gtest.h"

namespace tributary {
namespace {

constexpr TaskTime::Model kScalar = {};
constexpr TaskTime::Model kAffine = {.affine = true};

TEST(TaskTimeTest, TheFirstObservationIsTheEstimate) {
  TaskTime time;
  EXPECT_FALSE(time.known());
  time.Observe(absl::Seconds(40), 20, kScalar);
  EXPECT_TRUE(time.known());
  EXPECT_EQ(time.per_step(), absl::Seconds(2));
  EXPECT_EQ(time.Predict(7), absl::Seconds(14));
}

TEST(TaskTimeTest, LaterOnesCountWithTheMomentum) {
  TaskTime time;
  time.Observe(absl::Seconds(40), 20, kScalar);
  time.Observe(absl::Seconds(480), 40, kScalar);  // 12 a step: 0.1·2 + 0.9·12
  EXPECT_EQ(time.per_step(), absl::Seconds(11));
  TaskTime slow;
  slow.Observe(absl::Seconds(40), 20, {.affine = false, .momentum_ppm = 500'000});
  slow.Observe(absl::Seconds(160), 40, {.affine = false, .momentum_ppm = 500'000});
  EXPECT_EQ(slow.per_step(), absl::Seconds(3));
}

TEST(TaskTimeTest, QuotientsAreExact) {
  TaskTime time;
  time.Observe(absl::Milliseconds(700), 10, kScalar);  // 0.07 s a step: 2.24 / 0.07 = 32
  EXPECT_EQ(time.StepsWithin(absl::Milliseconds(2240)), 32);
  EXPECT_EQ(time.StepsWithin(absl::Milliseconds(2240) - absl::Nanoseconds(1)), 31);
  EXPECT_LE(time.StepsWithin(absl::Seconds(-1)), 0);
}

TEST(TaskTimeTest, AnInstantClientIsNotInfinitelyFast) {
  TaskTime time;
  time.Observe(absl::ZeroDuration(), 100, kScalar);
  EXPECT_EQ(time.per_step(), absl::Nanoseconds(1));
  EXPECT_EQ(time.StepsWithin(absl::Seconds(1)), 1'000'000'000);
}

TEST(TaskTimeTest, AHugeDurationDoesNotOverflow) {
  TaskTime time;
  time.Observe(absl::Hours(24 * 365), 1, kScalar);
  time.Observe(absl::Hours(24 * 365), 1, kScalar);
  EXPECT_EQ(time.per_step(), absl::Hours(24 * 365));
}

// 3 s for the transfers, 0.5 s a step.
TEST(TaskTimeTest, AffineTellsTheNetworkFromTheProcessor) {
  TaskTime affine, scalar;
  for (const int64_t steps : {20, 60, 40, 80}) {
    const absl::Duration took = absl::Seconds(3) + absl::Milliseconds(500) * steps;
    affine.Observe(took, steps, kAffine);
    scalar.Observe(took, steps, kScalar);
  }
  EXPECT_NEAR(absl::ToDoubleSeconds(affine.per_step()), 0.5, 1e-6);
  EXPECT_NEAR(absl::ToDoubleSeconds(affine.Predict(200)), 103, 1e-3);
  EXPECT_EQ(affine.StepsWithin(absl::Seconds(13) + absl::Milliseconds(1)), 20);
  EXPECT_LT(affine.StepsWithin(absl::Seconds(2)), 0);
  EXPECT_GT(absl::AbsDuration(scalar.Predict(200) - absl::Seconds(103)), absl::Seconds(1));
}

TEST(TaskTimeTest, AffineWithOneSizeOfOrderIsTheMean) {
  TaskTime time;
  for (int i = 0; i < 3; ++i) time.Observe(absl::Seconds(13), 20, kAffine);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(20)), 13, 1e-6);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(40)), 26, 1e-6);
}

TEST(TaskTimeTest, AffinePartsAreNeverNegative) {
  TaskTime shorter_is_slower;
  shorter_is_slower.Observe(absl::Seconds(30), 10, kAffine);
  shorter_is_slower.Observe(absl::Seconds(10), 40, kAffine);
  EXPECT_GT(shorter_is_slower.Predict(1), absl::ZeroDuration());
  EXPECT_LE(shorter_is_slower.Predict(10), shorter_is_slower.Predict(11));
  TaskTime superlinear;
  superlinear.Observe(absl::Seconds(1), 10, kAffine);
  superlinear.Observe(absl::Seconds(100), 40, kAffine);
  EXPECT_GT(superlinear.Predict(1), absl::ZeroDuration());
}

// 3 s for the transfers and 0.5 s a step; then 2 s a step, and orders become smaller.
TEST(TaskTimeTest, AffineStartsAfreshWhenMoreStepsTookLessTime) {
  TaskTime time;
  for (const int64_t steps : {80, 60, 70}) {
    time.Observe(absl::Seconds(3) + absl::Milliseconds(500) * steps, steps, kAffine);
  }
  time.Observe(absl::Seconds(123), 60, kAffine);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(60)), 123, 1e-3);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(30)), 63, 1);
  time.Observe(absl::Seconds(63), 30, kAffine);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.per_step()), 2, 1e-3);
}

TEST(TaskTimeTest, AffineStepsAreNeverFree) {
  TaskTime time;
  time.Observe(absl::Seconds(100), 20, kAffine);
  time.Observe(absl::Seconds(100) + absl::Nanoseconds(1), 60, kAffine);
  EXPECT_GE(time.per_step(), absl::Milliseconds(20));
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(40)), 100, 1);
}

// The network, which had been nearly all of it, is fast now.
TEST(TaskTimeTest, AffineForgetsAFixedCostAboveAWholeOrder) {
  TaskTime time;
  for (const int64_t steps : {20, 60, 40}) {
    time.Observe(absl::Seconds(90) + absl::Milliseconds(50) * steps, steps, kAffine);
  }
  for (int i = 0; i < 40; ++i) time.Observe(absl::Seconds(2), 40, kAffine);
  EXPECT_NEAR(absl::ToDoubleSeconds(time.Predict(40)), 2, 0.1);
  EXPECT_GE(time.per_step(), absl::Microseconds(500));
}

TEST(TaskTimeTest, VariationIsTheRelativeErrorOfThePredictions) {
  TaskTime time;
  time.Observe(absl::Seconds(10), 10, kScalar);
  EXPECT_EQ(time.variation(), 0);
  time.Observe(absl::Seconds(11), 10, kScalar);
  EXPECT_NEAR(time.variation(), 0.1, 1e-9);
  for (int i = 0; i < 200; ++i) time.Observe(time.Predict(10), 10, kScalar);
  EXPECT_LT(time.variation(), 1e-3);
}

// Two points make a line: before there is one, an error says nothing about the client.
TEST(TaskTimeTest, AffineVariationBeginsWithTheThirdObservation) {
  TaskTime time;
  time.Observe(absl::Seconds(61), 1, kAffine);
  time.Observe(absl::Seconds(110), 50, kAffine);  // 3050 s had been predicted
  EXPECT_EQ(time.variation(), 0);
  time.Observe(1.1 * time.Predict(30), 30, kAffine);
  EXPECT_NEAR(time.variation(), 0.1, 1e-6);
}

TEST(TaskTimeTest, SurvivesItsJson) {
  TaskTime time;
  time.Observe(absl::Seconds(13), 20, kAffine);
  time.Observe(absl::Seconds(31), 70, kAffine);
  const auto copy = nlohmann::json::parse(nlohmann::json(time).dump()).get<TaskTime>();
  EXPECT_EQ(copy.Predict(33), time.Predict(33));
  EXPECT_EQ(copy.variation(), time.variation());
}

}  // namespace
}  // namespace tributary
