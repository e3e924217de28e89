#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/data/readers.h"
#include "client_sdk/torch/submodel.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/params/layer_chain.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::IsOkAndHolds;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

JobInfo Job(const std::string& model, const std::string& optimizer = "{\"sgd\":{}}",
            const std::string& more = "") {
  JobInfo job;
  job.model_json = absl::StrCat("{\"builtin\":{\"name\":", model, "}}");
  job.train_json = absl::StrCat("{\"optimizer\":", optimizer, more, "}");
  return job;
}

std::string Sgd(double learning_rate) {
  return absl::StrCat("{\"sgd\":{\"learning_rate\":", learning_rate, "}}");
}

// Four examples of two features in three classes; one batch holds them all.
DataView TinyView() {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {2};
  data->num_classes = 3;
  data->features = {1.0F, -0.5F, 0.25F, 2.0F, -1.0F, 0.5F, 0.75F, 0.125F};
  data->labels = {0, 2, 1, 2};
  return DataView::All(std::move(data));
}

DataView Images(std::vector<int64_t> shape, int64_t examples) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = std::move(shape);
  data->num_classes = 10;
  Rng rng(3);
  for (int64_t i = 0; i < examples; ++i) data->labels.push_back(i % 10);
  data->pixels.resize(static_cast<size_t>(examples * data->example_size()));
  for (uint8_t& pixel : data->pixels) pixel = static_cast<uint8_t>(rng.UniformInt(256));
  return DataView::All(std::move(data));
}

DataShape ShapeOf(const DataView& view) { return DataShape::Of(*view.dataset); }

TrainTask Task(const JobInfo& job, int64_t steps, uint64_t seed = 1) {
  TrainTask task;
  task.job = job;
  task.local_steps = steps;
  task.rng = Rng(seed);
  return task;
}

// Logistic regression over a full batch as the textbook has it, in double:
// dL/dW = (softmax(Wx + b) − onehot(y)) xᵀ, averaged. W is [3, 2], then b is [3].
struct LogisticOracle {
  std::vector<double> params;
  double loss = 0;

  std::vector<double> Gradient(const Dataset& data) {
    std::vector<double> gradient(9);
    loss = 0;
    for (size_t n = 0; n < 4; ++n) {
      const double x[2] = {data.features[2 * n], data.features[2 * n + 1]};
      double exponential[3];
      double sum = 0;
      for (size_t c = 0; c < 3; ++c) {
        exponential[c] = std::exp(params[2 * c] * x[0] + params[2 * c + 1] * x[1] + params[6 + c]);
        sum += exponential[c];
      }
      const auto label = static_cast<size_t>(data.labels[n]);
      loss -= std::log(exponential[label] / sum) / 4;
      for (size_t c = 0; c < 3; ++c) {
        const double error = (exponential[c] / sum - (c == label ? 1 : 0)) / 4;
        gradient[2 * c] += error * x[0];
        gradient[2 * c + 1] += error * x[1];
        gradient[6 + c] += error;
      }
    }
    return gradient;
  }
};

TEST(TorchWorkerTest, SgdStepsAreThoseOfTheTextbook) {
  const DataView view = TinyView();
  const JobInfo job =
      Job("\"logistic\"", "{\"sgd\":{\"learning_rate\":0.5,\"momentum\":0.9,\"weight_decay\":0.1}}",
          ",\"proximal\":0.2");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  LogisticOracle oracle{{model.values().begin(), model.values().end()}};
  const std::vector<double> start = oracle.params;
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, worker.Train(Task(job, 4), view, model));
  double loss = 0;
  std::vector<double> velocity(9);
  for (int step = 0; step < 4; ++step) {
    const std::vector<double> gradient = oracle.Gradient(*view.dataset);
    loss += oracle.loss / 4;
    for (size_t i = 0; i < 9; ++i) {
      double& w = oracle.params[i];
      velocity[i] = 0.9 * velocity[i] + gradient[i] + 0.2 * (w - start[i]) + 0.1 * w;
      w -= 0.5 * velocity[i];
    }
  }
  EXPECT_THAT(model,
              ParamsNear(std::vector<float>(oracle.params.begin(), oracle.params.end()), 2e-6));
  EXPECT_NEAR(result.loss, loss, 1e-5);
  EXPECT_EQ(result.num_examples, 4);
  EXPECT_EQ(result.local_steps, 4);
  EXPECT_EQ(result.learning_rate, 0.5);
}

TEST(TorchWorkerTest, TheClientRateScalesTheLearningRate) {
  const DataView view = TinyView();
  const auto train = [&](double learning_rate, double client_rate) {
    const JobInfo job = Job("\"logistic\"", Sgd(learning_rate));
    TorchWorker worker;
    ParamVector model = worker.InitialModel(job, ShapeOf(view), 1).value();
    TrainTask task = Task(job, 3);
    task.client_rate = client_rate;
    EXPECT_EQ(worker.Train(task, view, model)->learning_rate, learning_rate * client_rate);
    return model;
  };
  EXPECT_THAT(train(0.25, 2), ParamsNear(train(0.5, 1), 0));
  EXPECT_THAT(train(0.25, 2), ::testing::Not(ParamsNear(train(0.25, 1), 1e-3)));
}

// The paper's rule, in double. The global update is what the base has more than the version before
// it, over the server's rate.
TEST(TorchWorkerTest, AHypergradientMovesTheLearningRateFromStepToStep) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"", Sgd(0.5),
                          R"(,"hypergradient":{"rule":"gradient","gain":0.25,"bound":3})");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  LogisticOracle oracle{{model.values().begin(), model.values().end()}};
  const ParamVector update = RandomParams(model.layout(), 5, 0.5F);
  ParamVector previous = model.Clone();
  AddScaled(-0.8F, update.values(), previous.values());
  TrainTask task = Task(job, 5);
  task.client_rate = 0.5;
  task.previous = std::make_shared<const ParamVector>(std::move(previous));
  task.server_rate = 0.8;
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, worker.Train(task, view, model));

  double rate = 0.25, last = 0;
  std::vector<double> before(9);
  for (int step = 0; step < 5; ++step) {
    const std::vector<double> gradient = oracle.Gradient(*view.dataset);
    double h = 0;
    for (size_t i = 0; i < 9; ++i) {
      oracle.params[i] -= rate * gradient[i];
      h += gradient[i] * (before[i] - double{update.values()[i]} / 5);
    }
    before = gradient;
    last = rate;
    rate = std::clamp(rate + 0.25 * h, 0.25 / 3, 0.25 * 3);
  }
  EXPECT_NEAR(result.learning_rate, last, 1e-6);
  EXPECT_GT(std::abs(last - 0.25), 0.01) << "it moved";
  EXPECT_THAT(model,
              ParamsNear(std::vector<float>(oracle.params.begin(), oracle.params.end()), 2e-6));
}

TEST(TorchWorkerTest, RefusesAPreviousVersionOfAnotherLayout) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"", Sgd(0.5), R"(,"hypergradient":{})");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  TrainTask task = Task(job, 1);
  task.previous = std::make_shared<const ParamVector>(test::FlatLayout(3));
  EXPECT_THAT(worker.Train(task, view, model), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TorchWorkerTest, EvaluateIsTheMeanOverTheExamples) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  // Logits (x0, 0, x1): the examples' predictions are 0, 2, 2, 0.
  const std::vector<float> values = {1, 0, 0, 0, 0, 1, 0, 0, 0};
  std::copy(values.begin(), values.end(), model.values().begin());
  LogisticOracle oracle{{values.begin(), values.end()}};
  oracle.Gradient(*view.dataset);
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result, worker.Evaluate({.job = job}, view, model));
  EXPECT_EQ(result.num_examples, 4);
  EXPECT_NEAR(result.loss, oracle.loss, 1e-6);
  EXPECT_EQ(result.accuracy, 0.5);
}

TEST(TorchWorkerTest, EvaluationInManyBatchesAgreesWithItsParts) {
  const DataView all = Images({1, 8, 8}, 1100);
  const JobInfo job = Job("\"mlp\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(all), 1));
  double loss = 0;
  double correct = 0;
  for (size_t start = 0; start < 1100; start += 100) {
    DataView part{all.dataset,
                  {all.indices.begin() + static_cast<std::ptrdiff_t>(start),
                   all.indices.begin() + static_cast<std::ptrdiff_t>(start) + 100}};
    TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result, worker.Evaluate({.job = job}, part, model));
    loss += result.loss / 11;
    correct += result.accuracy * 100;
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult whole, worker.Evaluate({.job = job}, all, model));
  EXPECT_NEAR(whole.loss, loss, 1e-5);
  EXPECT_NEAR(whole.accuracy * 1100, correct, 1e-6);
}

TEST(TorchWorkerTest, InitialModelIsTheSeedsAlone) {
  const DataShape shape{{1, 28, 28}, 10};
  TorchWorker worker;
  TorchWorker other;
  for (const char* name : {"\"logistic\"", "\"mlp\"", "\"cnn\"", "\"resnet\""}) {
    const JobInfo job = Job(name);
    TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector a, worker.InitialModel(job, shape, 1));
    TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector b, other.InitialModel(job, shape, 1));
    TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector c, worker.InitialModel(job, shape, 2));
    EXPECT_EQ(a.ComputeDigest(), b.ComputeDigest()) << name;
    EXPECT_NE(a.ComputeDigest(), c.ComputeDigest()) << name;
  }
}

TEST(TorchWorkerTest, InitialWeightsFillTheirFanInBound) {
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const ParamVector model,
      worker.InitialModel(Job("\"mlp\",\"hidden\":[100,50]"), {{1, 8, 8}, 10}, 1));
  const absl::Span<const float> weight = model.View("fc1.weight");
  ASSERT_EQ(weight.size(), 6400U);
  const auto [least, most] = std::minmax_element(weight.begin(), weight.end());
  EXPECT_NEAR(*least, -1.0 / 8, 1e-3);
  EXPECT_NEAR(*most, 1.0 / 8, 1e-3);
  EXPECT_NEAR(std::accumulate(weight.begin(), weight.end(), 0.0) / 6400, 0, 0.005);
}

TEST(TorchWorkerTest, LayoutsHaveStandardNamesAndSizes) {
  const DataShape shape{{1, 28, 28}, 10};
  TorchWorker worker;
  const auto size = [&](const std::string& name) {
    return (*worker.InitialModel(Job(name), shape, 1)).layout()->size();
  };
  EXPECT_EQ(size("\"logistic\""), 784 * 10 + 10);
  EXPECT_EQ(size("\"mlp\",\"hidden\":[200]"), 784 * 200 + 200 + 200 * 10 + 10);
  EXPECT_EQ(size("\"cnn\""), 51530);
  EXPECT_EQ(size("\"resnet\""), 144 + 32 + (2304 + 32 + 2304 + 32) + (4608 + 64 + 9216 + 64 + 512) +
                                    (18432 + 128 + 36864 + 128 + 2048) + 650);
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector cnn, worker.InitialModel(Job("\"cnn\""), shape, 1));
  std::vector<std::string> names;
  for (const auto& tensor : cnn.layout()->tensors()) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                                 "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"));
}

TEST(TorchWorkerTest, CountsTheOperationsOfTraining) {
  TorchWorker worker;
  const DataShape images{{1, 28, 28}, 10};
  // Two operations a multiplication, once forward and twice backward.
  const auto is = [](int64_t multiplications) { return IsOkAndHolds(6 * multiplications); };
  EXPECT_THAT(worker.TrainFlopsPerExample(Job("\"logistic\""), images), is(784 * 10));
  EXPECT_THAT(worker.TrainFlopsPerExample(Job("\"mlp\",\"hidden\":[200,30]"), images),
              is(784 * 200 + 200 * 30 + 30 * 10));
  // 28² becomes 14² and 7², averaged to 3².
  EXPECT_THAT(worker.TrainFlopsPerExample(Job("\"cnn\""), images),
              is(16 * 25 * 14 * 14 + 16 * 32 * 25 * 7 * 7 + 32 * 3 * 3 * 128 + 128 * 10));
  // A stem to 14², then stages of 14², 7² and 4²; a shortcut by 1×1 in the last two.
  EXPECT_THAT(worker.TrainFlopsPerExample(Job("\"resnet\""), images),
              is(16 * 9 * 196 + 2 * 16 * 16 * 9 * 196 + (16 * 32 + 32 * 32) * 9 * 49 +
                 16 * 32 * 49 + (32 * 64 + 64 * 64) * 9 * 16 + 32 * 64 * 16 + 64 * 10));
  EXPECT_THAT(worker.TrainFlopsPerExample(Job("\"cnn\""), {{20}, 4}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs images")));
}

TEST(TorchWorkerTest, CountsTheExamplesOfItsSteps) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"", Sgd(0.1), ",\"batch_size\":3,\"local_epochs\":2");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  TRIB_ASSERT_OK_AND_ASSIGN(TrainResult result, worker.Train({.job = job}, view, model));
  EXPECT_EQ(result.local_steps, 4) << "batches of 3, 1, 3, 1";
  EXPECT_EQ(result.examples_seen, 8);
  TRIB_ASSERT_OK_AND_ASSIGN(result, worker.Train({.job = job, .local_steps = 3}, view, model));
  EXPECT_EQ(result.examples_seen, 7);
}

TEST(TorchWorkerTest, ChecksAModelAgainstTheJob) {
  TorchWorker worker;
  const DataShape shape{{1, 28, 28}, 10};
  const JobInfo job = Job("\"logistic\"");
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector own, worker.InitialModel(job, shape, 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector other, worker.InitialModel(Job("\"cnn\""), shape, 1));
  EXPECT_THAT(worker.CheckModel(job, shape, own), IsOk());
  EXPECT_THAT(worker.CheckModel(job, shape, other),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'fc1.weight'")));
}

class ImageModelTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ImageModelTest, LearnsItsBatchByHeartInAnyShape) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{1, 28, 28}, {3, 32, 32}, {2, 9, 14}, {1, 3, 3}}) {
    const DataView view = Images(shape, 20);
    const JobInfo job = Job(GetParam(), "{\"adam\":{\"learning_rate\":0.005}}");
    TorchWorker worker;
    TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
    TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult before, worker.Evaluate({.job = job}, view, model));
    ASSERT_THAT(worker.Train(Task(job, 60), view, model), IsOk());
    TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult after, worker.Evaluate({.job = job}, view, model));
    EXPECT_LT(after.loss, 0.7 * before.loss) << shape[1];
  }
}

TEST_P(ImageModelTest, NeedsImages) {
  TorchWorker worker;
  EXPECT_THAT(worker.InitialModel(Job(GetParam()), {{784}, 10}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("needs images"), HasSubstr("(784)"))));
}

INSTANTIATE_TEST_SUITE_P(Models, ImageModelTest, ::testing::Values("\"cnn\"", "\"resnet\""),
                         [](const auto& row) { return row.index == 0 ? "cnn" : "resnet"; });

TEST(TorchWorkerTest, SameTaskSameBitsInTurnAndOnTwoThreads) {
  const DataView view = Images({1, 28, 28}, 100);
  for (const char* name : {"\"mlp\"", "\"cnn\""}) {
    const JobInfo job = Job(name, "{\"sgd\":{\"momentum\":0.9}}");
    const auto train = [&](uint64_t seed) {
      TorchWorker worker;
      ParamVector model = *worker.InitialModel(job, ShapeOf(view), 1);
      EXPECT_THAT(worker.Train(Task(job, 15, seed), view, model), IsOk());
      return model.ComputeDigest();
    };
    const Digest alone = train(1);
    std::vector<Digest> together(2);
    std::thread first([&] { together[0] = train(1); });
    std::thread second([&] { together[1] = train(1); });
    first.join();
    second.join();
    EXPECT_EQ(together[0], alone) << name;
    EXPECT_EQ(together[1], alone) << name;
    EXPECT_NE(train(2), alone) << name;
  }
}

TEST(TorchWorkerTest, AWorkerKeepsNothingOfAClient) {
  const DataView small = Images({1, 6, 6}, 7);
  const DataView large = Images({1, 6, 6}, 90);
  const JobInfo job = Job("\"mlp\"", "{\"adam\":{}}");
  TorchWorker fresh;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector start, fresh.InitialModel(job, ShapeOf(small), 1));
  ParamVector expected = start.Clone();
  ASSERT_THAT(fresh.Train(Task(job, 9), small, expected), IsOk());
  TorchWorker used;
  ParamVector other = start.Clone();
  ASSERT_THAT(used.Train(Task(job, 9, 2), large, other), IsOk());
  ASSERT_THAT(used.InitialModel(Job("\"cnn\""), {{1, 28, 28}, 10}, 1), IsOk());
  ParamVector model = start.Clone();
  ASSERT_THAT(used.Train(Task(job, 9), small, model), IsOk());
  EXPECT_EQ(model.ComputeDigest(), expected.ComputeDigest());
}

TEST(TorchWorkerTest, HowLongTrainingGoesOn) {
  const DataView view = Images({1, 4, 4}, 70);  // three batches of 32 a pass
  TorchWorker worker;
  const auto steps = [&](const std::string& more, std::optional<int64_t> local_steps) {
    const JobInfo job = Job("\"logistic\"", Sgd(0.01), more);
    ParamVector model = *worker.InitialModel(job, ShapeOf(view), 1);
    TrainTask task = Task(job, 1);
    task.local_steps = local_steps;
    return (*worker.Train(task, view, model)).local_steps;
  };
  EXPECT_EQ(steps("", std::nullopt), 3);
  EXPECT_EQ(steps(",\"local_epochs\":2", std::nullopt), 6);
  EXPECT_EQ(steps(",\"local_steps\":5", std::nullopt), 5);
  EXPECT_EQ(steps(",\"local_steps\":5", 7), 7);
  EXPECT_EQ(steps(",\"local_epochs\":2,\"batch_size\":100", std::nullopt), 2);
}

TEST(TorchWorkerTest, ProgressCountsAndStopIsHonouredBetweenSteps) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  std::stop_source stop;
  std::vector<int64_t> seen;
  TrainTask task = Task(job, 10);
  task.stop = stop.get_token();
  task.progress = [&](int64_t done, int64_t total) {
    seen.push_back(done);
    EXPECT_EQ(total, 10);
    if (done == 3) stop.request_stop();
  };
  EXPECT_THAT(worker.Train(task, view, model),
              StatusIs(absl::StatusCode::kCancelled, HasSubstr("3 of 10 steps")));
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
  EXPECT_THAT(worker.Evaluate({.job = job, .stop = stop.get_token()}, view, model),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST(TorchWorkerTest, DivergenceNamesTheStep) {
  const DataView view = Images({1, 4, 4}, 40);
  const JobInfo job = Job("\"mlp\",\"hidden\":[50,50]", Sgd(1e30));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  EXPECT_THAT(worker.Train(Task(job, 50), view, model),
              StatusIs(absl::StatusCode::kOutOfRange,
                       ::testing::ContainsRegex("the loss became .* at step [0-9]+ of 50")));
}

TEST(TorchWorkerTest, BadTasks) {
  const DataView view = TinyView();
  const JobInfo good = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(good, ShapeOf(view), 1));
  const auto train = [&](const JobInfo& job, const DataView& data, int64_t steps = 1) {
    return worker.Train(Task(job, steps), data, model).status();
  };
  EXPECT_THAT(train(good, DataView{view.dataset, {}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no examples")));
  EXPECT_THAT(train(good, DataView{}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(train(good, view, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("local_steps is 0")));
  EXPECT_THAT(train(Job("\"mlp\""), view),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'fc1.weight'")));
  EXPECT_THAT(train(Job("\"gtp\""), view),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.builtin.name")));
  EXPECT_THAT(train(Job("\"logistic\"", "{\"lion\":{}}"), view),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("train.optimizer")));
  JobInfo broken = good;
  broken.model_json = "{";
  EXPECT_THAT(train(broken, view), StatusIs(absl::StatusCode::kInvalidArgument));
  JobInfo custom = good;
  custom.model_json = "{\"custom\":\"mine\"}";
  EXPECT_THAT(train(custom, view), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("mine")));
  ParamVector empty;
  EXPECT_THAT(worker.Evaluate({.job = good}, view, empty),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no layout")));
}

TEST(TorchWorkerTest, MlpLearnsBlobs) {
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, MakeSynthetic({.separation = 6}, 1));
  const JobInfo job = Job("\"mlp\",\"hidden\":[32]", Sgd(0.1));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model,
                            worker.InitialModel(job, DataShape::Of(*data.train), 1));
  ASSERT_THAT(worker.Train(Task(job, 200), DataView::All(data.train), model), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result,
                            worker.Evaluate({.job = job}, DataView::All(data.test), model));
  EXPECT_GE(result.accuracy, 0.9);
}

TEST(TorchWorkerTest, LogisticRegressionOnFashionMnist) {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  }
  DatasetSpec spec;
  spec.dataset = "fashion_mnist";
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  const JobInfo job = Job("\"logistic\"", Sgd(0.1));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model,
                            worker.InitialModel(job, DataShape::Of(*data.train), 1));
  ASSERT_THAT(worker.Train(Task(job, 300), DataView::All(data.train), model), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result,
                            worker.Evaluate({.job = job}, DataView::All(data.test), model));
  EXPECT_GT(result.accuracy, 0.75);
}

// ---- tasks, masks, contributions ---------------------------------------------------------

TEST(TorchWorkerTest, WhatTheMaskPrunesIsZeroAfterEveryStep) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"", Sgd(0.5));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  TrainTask task = Task(job, 4);
  task.mask = std::make_shared<const Mask>(
      std::vector<bool>{false, true, false, true, true, true, true, false, true});
  ClearPruned(*task.mask, 0, model.values());
  EXPECT_THAT(worker.Train(task, view, model), IsOk());
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(model.values()[i] != 0, task.mask->Keeps(static_cast<int64_t>(i))) << i;
  }
}

// ---- submodels ------------------------------------------------------------------------------

struct Removal {
  size_t layer;
  int64_t unit;
};

std::shared_ptr<const Mask> MaskWithout(const ParamLayout& layout,
                                        const std::vector<Removal>& removals) {
  const auto chain = DeriveLayerChain(layout).value();
  std::vector<bool> keep(static_cast<size_t>(layout.trainable_size()), true);
  for (const auto& [layer, unit] : removals) RemoveUnit(chain, layer, unit, keep);
  return std::make_shared<const Mask>(keep);
}

TEST(SubmodelLayoutTest, HasTheUnitsThatAreLeft) {
  const DataView view = Images({1, 28, 28}, 10);
  TorchWorker worker;
  const ParamVector cnn = worker.InitialModel(Job("\"cnn\""), ShapeOf(view), 1).value();
  const auto mask = MaskWithout(*cnn.layout(), {{0, 3}, {1, 0}, {1, 31}, {2, 5}});
  const LayoutPtr small = SubmodelLayout(*cnn.layout(), *mask);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(small->Find("conv1.weight")->shape, (std::vector<int64_t>{15, 1, 5, 5}));
  EXPECT_EQ(small->Find("conv2.weight")->shape, (std::vector<int64_t>{30, 15, 5, 5}));
  EXPECT_EQ(small->Find("fc1.weight")->shape, (std::vector<int64_t>{127, 30 * 9}));
  EXPECT_EQ(small->Find("fc2.weight")->shape, (std::vector<int64_t>{10, 127}));
  EXPECT_EQ(small->trainable_size(), mask->count());
}

TEST(SubmodelLayoutTest, IsNotThereWhenTheMaskIsNoProductOfUnits) {
  const DataView view = Images({1, 28, 28}, 10);
  TorchWorker worker;
  const ParamVector mlp =
      worker.InitialModel(Job("\"mlp\",\"hidden\":[6,4]"), ShapeOf(view), 1).value();
  const ParamLayout& layout = *mlp.layout();
  const auto without = [&](std::vector<int64_t> more) {
    const auto mask = MaskWithout(layout, {{0, 2}});
    std::vector<bool> keep;
    for (int64_t i = 0; i < mask->size(); ++i) keep.push_back(mask->Keeps(i));
    for (const int64_t i : more) keep[static_cast<size_t>(i)].flip();
    return SubmodelLayout(layout, Mask(keep));
  };
  EXPECT_NE(without({}), nullptr);
  EXPECT_EQ(without({7}), nullptr) << "a single weight";
  EXPECT_EQ(without({layout.Find("fc1.bias")->offset + 2}), nullptr) << "a unit with a bias alone";
  EXPECT_EQ(without({layout.Find("fc1.bias")->offset}), nullptr) << "a unit without its bias";
  EXPECT_EQ(without({layout.Find("fc2.weight")->offset + 2}), nullptr)
      << "a weight that no unit feeds";
  EXPECT_EQ(SubmodelLayout(layout, *MaskWithout(layout, {})), nullptr) << "nothing is removed";
  EXPECT_EQ(SubmodelLayout(layout, *MaskWithout(layout, {{1, 0}, {1, 1}, {1, 2}, {1, 3}})), nullptr)
      << "a layer is gone";
  const ParamVector resnet = worker.InitialModel(Job("\"resnet\""), ShapeOf(view), 1).value();
  std::vector<bool> keep(resnet.values().size(), true);
  keep[0] = false;
  EXPECT_EQ(SubmodelLayout(*resnet.layout(), Mask(keep)), nullptr) << "no chain";
}

// A model whose removed units are zero trains to the same values dense: their gradients are zero.
class SubmodelTrainingTest : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
};

TEST_P(SubmodelTrainingTest, EndsAsTheMaskedModelDoes) {
  const DataView view = Images({1, 28, 28}, 24);
  const auto [model_name, optimizer] = GetParam();
  const JobInfo job = Job(model_name, optimizer,
                          ",\"batch_size\":10,\"proximal\":0.1,"
                          "\"hypergradient\":{\"rule\":\"cosine\"}");
  TorchWorker worker;
  ParamVector base = worker.InitialModel(job, ShapeOf(view), 1).value();
  ParamVector previous = worker.InitialModel(job, ShapeOf(view), 2).value();
  TrainTask task = Task(job, 7);
  task.mask = MaskWithout(*base.layout(), {{0, 1}, {0, 4}, {1, 0}, {1, 3}});
  for (ParamVector* model : {&base, &previous}) ClearPruned(*task.mask, 0, model->trainable());
  task.previous = std::make_shared<const ParamVector>(std::move(previous));

  ParamVector masked = base.Clone();
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult smaller, worker.Train(task, view, masked));
  task.mask = nullptr;
  ParamVector dense = base.Clone();
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult whole, worker.Train(task, view, dense));

  EXPECT_THAT(masked, ParamsNear(dense, 2e-6));
  EXPECT_THAT(masked, ::testing::Not(ParamsNear(base, 1e-3)));
  EXPECT_NEAR(smaller.loss, whole.loss, 1e-6);
  EXPECT_EQ(smaller.examples_seen, whole.examples_seen);
  EXPECT_LT(smaller.flops, whole.flops);
}

INSTANTIATE_TEST_SUITE_P(
    Chains, SubmodelTrainingTest,
    ::testing::Combine(::testing::Values("\"mlp\",\"hidden\":[12,6]", "\"cnn\""),
                       ::testing::Values("{\"sgd\":{\"learning_rate\":0.05,\"momentum\":0.9}}",
                                         "{\"adam\":{\"learning_rate\":0.001}}")));

TEST(TorchWorkerTest, CountsTheOperationsThatASubmodelTakes) {
  const DataView view = Images({1, 28, 28}, 10);
  const JobInfo job = Job("\"mlp\",\"hidden\":[4]", Sgd(0.1), ",\"batch_size\":10");
  TorchWorker worker;
  ParamVector model = worker.InitialModel(job, ShapeOf(view), 1).value();
  TrainTask task = Task(job, 3);
  EXPECT_EQ(worker.Train(task, view, model)->flops, 3 * 10 * 6 * (784 * 4 + 4 * 10));
  task.mask = MaskWithout(*model.layout(), {{0, 1}, {0, 2}});
  EXPECT_EQ(worker.Train(task, view, model)->flops, 3 * 10 * 6 * (784 * 2 + 2 * 10));
}

TEST(TorchWorkerTest, OtherHeadsLogitsAreLeftOut) {
  auto data = std::make_shared<Dataset>(*TinyView().dataset);
  data->labels = {1, 2, 1, 2};
  data->head = {1, 3};
  const DataView view = DataView::All(data);
  const JobInfo job = Job("\"logistic\"", Sgd(0.5));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  const ParamVector before = model.Clone();
  EXPECT_THAT(worker.Train(Task(job, 3), view, model), IsOk());
  // Class 0's row of W and its bias have no gradient.
  for (const size_t i : {0, 1, 6}) EXPECT_EQ(model.values()[i], before.values()[i]) << i;
  for (const size_t i : {2, 3, 4, 5, 7, 8}) EXPECT_NE(model.values()[i], before.values()[i]) << i;
  // However large the other head's logits are, they win nothing.
  model.values()[6] = 1000;
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult result, worker.Evaluate({.job = job}, view, model));
  EXPECT_LT(result.loss, 10);
}

CollectTask Collecting(const JobInfo& job, CollectRequest request) {
  CollectTask task;
  task.job = job;
  task.request = std::move(request);
  task.rng = Rng(1);
  return task;
}

TEST(TorchWorkerTest, AnExplorationEndsWhenPassesBringNothing) {
  const DataView view = TinyView();
  TorchWorker worker;
  // With a learning rate below the weights' last bits no pass brings anything; with a good one each
  // does.
  for (const auto& [learning_rate, steps] : {std::pair(1e-12, 3), std::pair(0.1, 9)}) {
    const JobInfo job = Job("\"logistic\"", Sgd(learning_rate));
    TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
    const CollectTask task = Collecting(
        job, {.options_json = R"({"epochs": 9, "patience": 2})", .layout = model.layout()});
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, worker.Explore(task, view, model));
    EXPECT_EQ(result.local_steps, steps);
  }
}

TEST(TorchWorkerTest, AnExplorationMayHaveItsOwnLearningRate) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"", Sgd(0.1));
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  const CollectTask task = Collecting(
      job, {.options_json = R"({"epochs": 1, "learning_rate": 0.25})", .layout = model.layout()});
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result, worker.Explore(task, view, model));
  EXPECT_EQ(result.learning_rate, 0.25);
}

CollectRequest SketchRequest(const std::string& options, std::vector<ParamLayout::Tensor> tensors) {
  return {.kind = CollectKind::kSketch,
          .options_json = options,
          .layout = *ParamLayout::Create(std::move(tensors))};
}

// Σ [x; 1]·[x; 1]ᵀ over the examples, its upper triangle row by row.
TEST(TorchWorkerTest, AGramMatrixIsThatOfTheInputs) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  const CollectTask task = Collecting(
      job, SketchRequest(
               R"({"method":"gram","layers":[{"name":"fc1.weight","dim":3,"augmented":true}]})",
               {{.name = "fc1.weight.gram", .shape = {6}}}));
  ParamVector sketch(task.request.layout);
  EXPECT_THAT(worker.SketchInputs(task, view, model, sketch), IsOkAndHolds(4));
  const std::vector<float>& x = view.dataset->features;
  std::vector<float> expected(6);
  for (size_t n = 0; n < 4; ++n) {
    const float row[3] = {x[2 * n], x[2 * n + 1], 1};
    size_t next = 0;
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = i; j < 3; ++j) expected[next++] += row[i] * row[j];
    }
  }
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(sketch.values()[i], expected[i], 1e-5) << i;
}

// E[Y·Yᵀ] = s·A·Aᵀ: with many columns the estimate is near, and the energy is exact.
TEST(TorchWorkerTest, ASketchEstimatesTheGramMatrix) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  constexpr int64_t kColumns = 20'000;
  const CollectTask task = Collecting(
      job, SketchRequest(R"({"method":"sketch","layers":[{"name":"fc1.weight","dim":2}]})",
                         {{.name = "fc1.weight.sketch", .shape = {2, kColumns}},
                          {.name = "fc1.weight.energy", .shape = {1}}}));
  ParamVector sketch(task.request.layout);
  EXPECT_THAT(worker.SketchInputs(task, view, model, sketch), IsOkAndHolds(4));
  double energy = 0, gram[2][2] = {};
  for (size_t n = 0; n < 4; ++n) {
    const float* x = view.dataset->features.data() + 2 * n;
    for (size_t i = 0; i < 2; ++i) {
      energy += static_cast<double>(x[i]) * x[i];
      for (size_t j = 0; j < 2; ++j) gram[i][j] += static_cast<double>(x[i]) * x[j];
    }
  }
  EXPECT_NEAR(sketch.View("fc1.weight.energy")[0], energy, 1e-5);
  const auto y = sketch.View("fc1.weight.sketch");
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 2; ++j) {
      double found = 0;
      for (size_t k = 0; k < kColumns; ++k) {
        found += static_cast<double>(y[i * kColumns + k]) * y[j * kColumns + k] / kColumns;
      }
      EXPECT_NEAR(found, gram[i][j], 0.03 * energy) << i << "," << j;
    }
  }
}

// 1..9 as a 3×3 image, a 5×5 kernel with stride 2 and padding 2: each of the four outputs sees the
// image shifted. The sum of the diagonal is the energy of all patches.
TEST(TorchWorkerTest, AConvolutionsInputsAreItsPatches) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {1, 3, 3};
  data->num_classes = 2;
  data->features = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  data->labels = {0};
  const DataView view = DataView::All(data);
  const JobInfo job = Job("\"cnn\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  const CollectTask task = Collecting(
      job, SketchRequest(R"({"method":"gram","layers":[{"name":"conv1.weight","dim":25}]})",
                         {{.name = "conv1.weight.gram", .shape = {325}}}));
  ParamVector sketch(task.request.layout);
  EXPECT_THAT(worker.SketchInputs(task, view, model, sketch), IsOkAndHolds(1));
  // The patch at output (oy, ox) has image(2·oy + ky − 2, 2·ox + kx − 2) at (ky, kx).
  const auto image = [](int y, int x) {
    return y < 0 || x < 0 || y > 2 || x > 2 ? 0.0 : 3.0 * y + x + 1;
  };
  size_t next = 0;
  for (int a = 0; a < 25; ++a) {
    for (int b = a; b < 25; ++b, ++next) {
      double expected = 0;
      for (int output = 0; output < 4; ++output) {
        const int y = 2 * (output / 2) - 2, x = 2 * (output % 2) - 2;
        expected += image(y + a / 5, x + a % 5) * image(y + b / 5, x + b % 5);
      }
      EXPECT_NEAR(sketch.values()[next], expected, 1e-3) << a << "," << b;
    }
  }
}

TEST(TorchWorkerTest, ALayerThatTheModelDoesNotHaveIsRefused) {
  const DataView view = TinyView();
  const JobInfo job = Job("\"logistic\"");
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model, worker.InitialModel(job, ShapeOf(view), 1));
  for (const auto& [name, dim, why] :
       {std::tuple("fc9.weight", 2, "no such linear layer"),
        std::tuple("fc1.weight", 3, "its inputs have 2 values, asked were 3")}) {
    const CollectTask task = Collecting(
        job,
        SketchRequest(absl::StrCat(R"({"method":"gram","layers":[{"name":")", name, R"(","dim":)",
                                   dim, "}]}"),
                      {{.name = absl::StrCat(name, ".gram"), .shape = {dim * (dim + 1) / 2}}}));
    ParamVector sketch(task.request.layout);
    EXPECT_THAT(worker.SketchInputs(task, view, model, sketch),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  }
}

}  // namespace
}  // namespace tributary
