#include "client_sdk/app/throttle.h"

#include <stop_token>
#include <utility>
#include <vector>

#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

constexpr absl::Duration kPerStep = absl::Milliseconds(20);

class ThrottleTest : public ::testing::Test {
 protected:
  // A trainer of `steps` steps that take `step_time` each, and stops if it is asked to.
  std::unique_ptr<Trainer> Stepping(int64_t steps, absl::Duration step_time) {
    auto trainer = std::make_unique<FakeTrainer>(test::FlatLayout(3, 0));
    trainer->on_train = [this, steps, step_time](const TrainTask& task,
                                                 ParamVector&) -> absl::StatusOr<TrainResult> {
      for (int64_t step = 1; step <= steps; ++step) {
        if (task.stop.stop_requested()) return absl::CancelledError("stopped");
        clock_.AdvanceBy(step_time);
        task.progress(step, steps);
        step_ends_.push_back(clock_.Now() - begin_);
      }
      return TrainResult{.local_steps = steps};
    };
    return trainer;
  }

  absl::StatusOr<TrainResult> Train(Trainer& trainer, TrainTask task = {}) {
    ParamVector model;
    return trainer.Train(task, model);
  }

  SimulatedClock clock_;
  const absl::Time begin_ = clock_.Now();
  std::vector<absl::Duration> step_ends_;
};

TEST_F(ThrottleTest, EachStepTakesAtLeastItsTime) {
  const auto trainer = Throttled(Stepping(3, absl::Milliseconds(5)), kPerStep, &clock_);
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, Train(*trainer));
  EXPECT_EQ(result.local_steps, 3);
  EXPECT_THAT(step_ends_, ::testing::ElementsAre(kPerStep, 2 * kPerStep, 3 * kPerStep));
}

TEST_F(ThrottleTest, TheTimeCountsFromTheStartOfEachTask) {
  const auto trainer = Throttled(Stepping(2, absl::ZeroDuration()), kPerStep, &clock_);
  ASSERT_THAT(Train(*trainer), test::IsOk());
  clock_.AdvanceBy(absl::Hours(1));
  const absl::Time again = clock_.Now();
  ASSERT_THAT(Train(*trainer), test::IsOk());
  EXPECT_EQ(clock_.Now() - again, 2 * kPerStep);
}

TEST_F(ThrottleTest, AStepThatIsSlowerByItselfIsNotSlowedMore) {
  const auto trainer = Throttled(Stepping(3, 2 * kPerStep), kPerStep, &clock_);
  ASSERT_THAT(Train(*trainer), test::IsOk());
  EXPECT_EQ(step_ends_.back(), 6 * kPerStep);
}

TEST_F(ThrottleTest, ProgressIsStillTold) {
  std::vector<std::pair<int64_t, int64_t>> told;
  const auto trainer = Throttled(Stepping(2, absl::ZeroDuration()), kPerStep, &clock_);
  TrainTask task;
  task.progress = [&](int64_t done, int64_t total) { told.emplace_back(done, total); };
  ASSERT_THAT(Train(*trainer, task), test::IsOk());
  EXPECT_THAT(told, ::testing::ElementsAre(std::pair(1, 2), std::pair(2, 2)));
}

TEST_F(ThrottleTest, AStopEndsTheWaiting) {
  RealClock clock;
  std::stop_source stop;
  TrainTask task;
  task.stop = stop.get_token();
  task.progress = [&](int64_t, int64_t) { stop.request_stop(); };
  const auto trainer = Throttled(Stepping(2, absl::ZeroDuration()), absl::Hours(1), &clock);
  EXPECT_THAT(Train(*trainer, task), test::StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ThrottleTest, ZeroIsTheTrainerItself) {
  auto trainer = Stepping(1, absl::ZeroDuration());
  const Trainer* const same = trainer.get();
  EXPECT_EQ(Throttled(std::move(trainer), absl::ZeroDuration(), &clock_).get(), same);
}

TEST_F(ThrottleTest, AdaptersAreTrainedSlowlyToo) {
  auto fake = std::make_unique<FakeTrainer>(test::FlatLayout(3, 0));
  fake->on_train_adapter = [](const TrainTask& task, const FrozenModel& frozen, ParamVector&) {
    task.progress(2, 2);
    return TrainResult{.num_examples = frozen.rank, .local_steps = 2};
  };
  const auto trainer = Throttled(std::move(fake), kPerStep, &clock_);
  ParamVector adapter;
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result,
                            trainer->TrainAdapter({}, {.rank = 5}, adapter));
  EXPECT_EQ(result.num_examples, 5);
  EXPECT_EQ(clock_.Now() - begin_, 2 * kPerStep);
}

TEST_F(ThrottleTest, TheRestIsPassedOn) {
  auto fake = std::make_unique<FakeTrainer>(test::FlatLayout(3, 0));
  fake->on_can_sketch = [](const JobInfo& job) { return absl::NotFoundError(job.name); };
  FakeTrainer plain(test::FlatLayout(3, 0));
  const auto trainer = Throttled(std::move(fake), kPerStep, &clock_);
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, trainer->InitialModel({}, 7));
  EXPECT_EQ(model.ComputeDigest(), plain.InitialModel({}, 7)->ComputeDigest());
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result, trainer->Evaluate({}, model));
  EXPECT_EQ(result.num_examples, 7);
  EXPECT_THAT(trainer->CanSketchInputs({.name = "demo"}),
              test::StatusIs(absl::StatusCode::kNotFound, "demo"));
  EXPECT_EQ(clock_.Now(), begin_);
}

}  // namespace
}  // namespace tributary
