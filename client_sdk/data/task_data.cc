#include "client_sdk/data/task_data.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rng.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// Where value i of an example comes from; kNowhere: it is zero.
using Origins = std::vector<int32_t>;
constexpr int32_t kNowhere = -1;

template <typename T>
void Rearrange(const Origins& origins, std::vector<T>& values) {
  std::vector<T> example(origins.size());
  for (size_t start = 0; start < values.size(); start += origins.size()) {
    for (size_t i = 0; i < origins.size(); ++i) {
      example[i] = origins[i] == kNowhere ? T() : values[start + static_cast<size_t>(origins[i])];
    }
    std::ranges::copy(example, values.begin() + static_cast<ptrdiff_t>(start));
  }
}

std::shared_ptr<const Dataset> Rearranged(const Dataset& data, const Origins& origins) {
  Dataset made = data;
  Rearrange(origins, made.pixels);
  Rearrange(origins, made.features);
  return std::make_shared<const Dataset>(std::move(made));
}

LoadedData Rearranged(const LoadedData& data, const Origins& origins) {
  return {Rearranged(*data.train, origins), Rearranged(*data.test, origins)};
}

absl::string_view KindOf(const Dataset& data) {
  return data.has_tokens() ? "text" : "labelled examples";
}

absl::Status NeedsLabels(const LoadedData& data, absl::string_view scenario) {
  if (!data.train->has_tokens()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      scenario, " needs labelled examples; the data are text; allowed here: datasets"));
}

// The values of every example in an order of the task's own; the first task's is the data's.
class PermutedScenario final : public Scenario {
 public:
  struct Options {
    int64_t seed = 1;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("seed", &Options::seed, "of the orders").Min(0);
    }
  };
  explicit PermutedScenario(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<PermutedScenario>> Create(const Options& options) {
    return std::make_unique<PermutedScenario>(options);
  }

  absl::StatusOr<LoadedData> Task(const LoadedData& data, int64_t task) const override {
    TRIB_RETURN_IF_ERROR(NeedsLabels(data, "permuted"));
    if (task == 0) return data;
    Origins origins(static_cast<size_t>(data.train->example_size()));
    std::iota(origins.begin(), origins.end(), 0);
    Rng rng = Rng(static_cast<uint64_t>(options_.seed)).Split("permuted");
    rng.Split(static_cast<uint64_t>(task)).Shuffle(absl::MakeSpan(origins));
    return Rearranged(data, origins);
  }

 private:
  const Options options_;
};

// Images turned about their middle, each pixel from the nearest one.
class RotatedScenario final : public Scenario {
 public:
  struct Options {
    double degrees = 30;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("degrees", &Options::degrees, "more than the task before, counter-clockwise")
          .GreaterThan(0)
          .LessThan(360);
    }
  };
  explicit RotatedScenario(const Options& options) : options_(options) {}
  static absl::StatusOr<std::unique_ptr<RotatedScenario>> Create(const Options& options) {
    return std::make_unique<RotatedScenario>(options);
  }

  absl::StatusOr<LoadedData> Task(const LoadedData& data, int64_t task) const override {
    const std::vector<int64_t>& shape = data.train->example_shape;
    if (shape.size() != 3) {
      return absl::InvalidArgumentError(
          absl::StrCat("rotated needs images of shape (channels, height, width); the data's shape "
                       "is (",
                       absl::StrJoin(shape, ", "), ")"));
    }
    if (task == 0) return data;
    const int64_t height = shape[1], width = shape[2];
    const double angle = options_.degrees * static_cast<double>(task) * std::numbers::pi / 180;
    const double middle_y = static_cast<double>(height - 1) / 2;
    const double middle_x = static_cast<double>(width - 1) / 2;
    Origins origins;
    for (int64_t channel = 0; channel < shape[0]; ++channel) {
      for (int64_t i = 0; i < height * width; ++i) {
        const int64_t row = i / width;
        const double y = static_cast<double>(row) - middle_y;
        const double x = static_cast<double>(i % width) - middle_x;
        const int64_t from_y = std::llround(middle_y + y * std::cos(angle) + x * std::sin(angle));
        const int64_t from_x = std::llround(middle_x + x * std::cos(angle) - y * std::sin(angle));
        const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
        origins.push_back(
            inside ? static_cast<int32_t>((channel * height + from_y) * width + from_x) : kNowhere);
      }
    }
    return Rearranged(data, origins);
  }

 private:
  const Options options_;
};

// The classes in order, some to a task.
class SplitClassesScenario final : public Scenario {
 public:
  struct Options {
    int64_t classes_per_task = 2;
    std::string heads = "multi";
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("classes_per_task", &Options::classes_per_task, "classes of each task").Min(1);
      fields
          .Add("heads", &Options::heads,
               "multi: a task's logits are those of its classes alone, as with an output layer for "
               "each task; single: one output layer tells all classes apart")
          .OneOf({"multi", "single"});
    }
  };
  explicit SplitClassesScenario(Options options) : options_(std::move(options)) {}
  static absl::StatusOr<std::unique_ptr<SplitClassesScenario>> Create(const Options& options) {
    return std::make_unique<SplitClassesScenario>(options);
  }

  absl::StatusOr<LoadedData> Task(const LoadedData& data, int64_t task) const override {
    TRIB_RETURN_IF_ERROR(NeedsLabels(data, "split_classes"));
    const int64_t tasks = data.train->num_classes / options_.classes_per_task;
    if (task >= tasks) {
      return absl::InvalidArgumentError(absl::StrCat(
          "split_classes: ", data.train->num_classes, " classes, ", options_.classes_per_task,
          " to a task, make ", tasks, " tasks; there is no task ", task, " (from 0)"));
    }
    LoadedData made;
    TRIB_ASSIGN_OR_RETURN(made.train, Part(*data.train, task));
    TRIB_ASSIGN_OR_RETURN(made.test, Part(*data.test, task));
    return made;
  }

 private:
  absl::StatusOr<std::shared_ptr<const Dataset>> Part(const Dataset& data, int64_t task) const {
    const int64_t first = task * options_.classes_per_task;
    const int64_t end = first + options_.classes_per_task;
    std::vector<int32_t> indices;
    for (size_t i = 0; i < data.labels.size(); ++i) {
      if (data.labels[i] >= first && data.labels[i] < end) {
        indices.push_back(static_cast<int32_t>(i));
      }
    }
    if (indices.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("split_classes: no example of the classes of task ", task));
    }
    Dataset made = data.Subset(indices);
    if (options_.heads == "multi") made.head = {first, end};
    return std::make_shared<const Dataset>(std::move(made));
  }

  const Options options_;
};

// A data set of its own for each task after the first.
class DatasetsScenario final : public Scenario {
 public:
  struct Options {
    std::vector<std::string> others;
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("others", &Options::others,
                 "the data of the tasks after the first, each a name or a mapping as text: "
                 "[mnist, '{dataset: npy, path: …}']");
    }
  };
  explicit DatasetsScenario(std::vector<DatasetSpec> others) : others_(std::move(others)) {}
  static absl::StatusOr<std::unique_ptr<DatasetsScenario>> Create(const Options& options) {
    std::vector<DatasetSpec> others;
    for (const std::string& text : options.others) {
      TRIB_ASSIGN_OR_RETURN(others.emplace_back(), ParseDataFlag(text, "others"));
    }
    return std::make_unique<DatasetsScenario>(std::move(others));
  }

  absl::StatusOr<LoadedData> Task(const LoadedData& data, int64_t task) const override {
    if (task == 0) return data;
    if (task > std::ssize(others_)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "datasets: ", others_.size() + 1, " data sets; there is no task ", task, " (from 0)"));
    }
    TRIB_ASSIGN_OR_RETURN(LoadedData other, LoadDataset(others_[static_cast<size_t>(task) - 1]));
    if (other.train->has_tokens() != data.train->has_tokens()) {
      return absl::InvalidArgumentError(absl::StrCat("datasets: the data of task ", task, " are ",
                                                     KindOf(*other.train),
                                                     ", the first task's are ", KindOf(*data.train),
                                                     "; one model takes both only if they agree"));
    }
    if (other.train->example_shape != data.train->example_shape ||
        other.train->num_classes != data.train->num_classes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "datasets: the data of task ", task, " have examples of (",
          absl::StrJoin(other.train->example_shape, ", "), ") in ", other.train->num_classes,
          " classes, the first task's (", absl::StrJoin(data.train->example_shape, ", "), ") in ",
          data.train->num_classes, "; one model takes both only if they agree"));
    }
    return other;
  }

 private:
  const std::vector<DatasetSpec> others_;
};

}  // namespace

const Registry<Scenario>& ScenarioRegistry() {
  using R = Registry<Scenario>;
  static const R* const registry = new R(
      "scenario",
      {
          R::Of<DatasetsScenario>("datasets", "each task has data of its own"),
          R::Of<PermutedScenario>("permuted", "the input values in another order for each task"),
          R::Of<RotatedScenario>("rotated", "images turned further for each task"),
          R::Of<SplitClassesScenario>("split_classes", "some of the classes for each task"),
      });
  return *registry;
}

absl::StatusOr<TaskData> TaskData::Load(const DatasetSpec& spec) {
  TaskData tasks;
  if (spec.scenario) {
    TRIB_ASSIGN_OR_RETURN(tasks.scenario_, ScenarioRegistry().Create(*spec.scenario));
  }
  TRIB_ASSIGN_OR_RETURN(tasks.data_, LoadDataset(spec));
  return tasks;
}

absl::StatusOr<LoadedData> TaskData::Task(int64_t task) {
  if (scenario_ == nullptr) return data_;
  const auto index = static_cast<size_t>(task);
  if (made_.size() <= index) made_.resize(index + 1);
  if (made_[index].train == nullptr) {
    TRIB_ASSIGN_OR_RETURN(made_[index], scenario_->Task(data_, task));
  }
  return made_[index];
}

}  // namespace tributary
