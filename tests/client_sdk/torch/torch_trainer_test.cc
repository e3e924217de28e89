#include "client_sdk/torch/torch_trainer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client_sdk/data/readers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::HasSubstr;

JobInfo Job() {
  JobInfo job;
  job.model_json = "{\"builtin\":{\"name\":\"logistic\"}}";
  job.train_json = "{\"optimizer\":{\"sgd\":{}},\"local_steps\":5}";
  return job;
}

LoadedData Blobs(int64_t classes = 10) { return *MakeSynthetic({.classes = classes}, 1); }

TEST(TorchTrainerTest, MakesTrainsAndEvaluates) {
  const LoadedData data = Blobs();
  TRIB_ASSERT_OK_AND_ASSIGN(const auto trainer, TorchTrainer::Create({DataView::All(data.train),
                                                                      DataView::All(data.test)}));
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, trainer->InitialModel(Job(), 1));
  TrainTask task;
  task.job = Job();
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult trained, trainer->Train(task, model));
  EXPECT_EQ(trained.num_examples, 2000);
  EXPECT_EQ(trained.local_steps, 5);
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result, trainer->Evaluate({.job = Job()}, model));
  EXPECT_EQ(result.num_examples, 500);
}

TEST(TorchTrainerTest, AClientThatOnlyEvaluates) {
  const LoadedData data = Blobs();
  TRIB_ASSERT_OK_AND_ASSIGN(const auto trainer,
                            TorchTrainer::Create({.eval = DataView::All(data.test)}));
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, trainer->InitialModel(Job(), 1));
  EXPECT_THAT(trainer->Evaluate({.job = Job()}, model), IsOk());
  TrainTask task;
  task.job = Job();
  EXPECT_THAT(trainer->Train(task, model), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(TorchTrainerTest, AClientThatOnlyTrains) {
  const LoadedData data = Blobs();
  TRIB_ASSERT_OK_AND_ASSIGN(const auto trainer,
                            TorchTrainer::Create({.train = DataView::All(data.train)}));
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, trainer->InitialModel(Job(), 1));
  EXPECT_THAT(trainer->Evaluate({.job = Job()}, model),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(TorchTrainerTest, ViewsThatDoNotFitAreRefused) {
  const LoadedData data = Blobs();
  EXPECT_THAT(TorchTrainer::Create({}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(
      TorchTrainer::Create({DataView::All(data.train), DataView::All(Blobs(/*classes=*/4).test)}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("they must agree")));
  EXPECT_THAT(TorchTrainer::Create({.train = {data.train, {0, 2000}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("train: index 2000 is out of range [0, 2000)")));
  auto spoiled = std::make_shared<Dataset>(*data.train);
  spoiled->labels[5] = 10;
  EXPECT_THAT(TorchTrainer::Create({.train = DataView::All(spoiled)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("example 5: label 10")));
}

TEST(BuiltinModelsTest, EveryOneCanBeMade) {
  TorchWorker worker;
  for (const ModelDescription& model : BuiltinModels()) {
    JobInfo job = Job();
    job.model_json = "{\"builtin\":{\"name\":\"" + model.name + "\"}}";
    const bool reads_text = model.name == "gpt" || model.name == "llama";
    const DataShape shape = reads_text ? DataShape{{16}, 256, /*tokens=*/true}
                                       : DataShape{{1, 28, 28}, 10, /*tokens=*/false};
    EXPECT_THAT(worker.InitialModel(job, shape, 1), IsOk()) << model.name;
  }
}

}  // namespace
}  // namespace tributary
