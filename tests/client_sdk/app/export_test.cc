#include "client_sdk/app/export.h"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "client_sdk/app/generate.h"
#include "client_sdk/torch/hugging_face.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/lora/lora_plan.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client_sdk/app/command.h"
#include "tests/testing/params.h"
#include "tests/testing/safetensors_header.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Outcome;
using test::ParamsNear;
using test::ReadFile;
using test::RunCommand;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

BuiltinModel Gpt() {
  BuiltinModel spec;
  spec.name = "gpt";
  spec.layers = 1;
  spec.heads = 2;
  spec.width = 8;
  spec.context = 6;
  spec.vocabulary = 256;
  return spec;
}
std::string GptFlag() { return config::Print(Gpt()).dump(); }

// The plan of a job whose gpt keeps an adapter of rank 2 at its attention layers.
std::shared_ptr<const LoraPlan> GptPlan() {
  LoraSpec spec;
  spec.rank = 2;
  spec.targets = {"*.attn.*"};
  return *LoraPlan::Create(spec, *FindLoraRule("lora_average"), **LanguageModelLayout(Gpt()),
                           /*transposed_weights=*/true);
}

double SquaredDistance(const ParamVector& x, const ParamVector& y) {
  ParamVector difference = x.Clone();
  AddScaled(-1, y.values(), difference.values());
  return SquaredNorm(difference.values());
}

// What the tests begin with.
struct Files {
  TempDir dir;
  ParamVector held = test::RandomParams(GptPlan()->model(), 2, 0.3F);
  ParamVector merged = GptPlan()->Merged(held);
  std::string model = dir.File("held.safetensors");      // with an adapter
  std::string ordinary = dir.File("plain.safetensors");  // the same, merged
  std::string out = dir.File("out");

  Files() {
    EXPECT_THAT(WriteSafetensors(held, model), test::IsOk());
    EXPECT_THAT(WriteSafetensors(merged, ordinary), test::IsOk());
  }
};

std::string Say(const std::string& model, std::vector<std::string> more = {}) {
  more.insert(more.end(), {"--model", model, "--prompt", "hi", "--tokens", "12"});
  const Outcome outcome = RunCommand(Generate, more);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.out;
}

TEST(ExportTest, MergesAdaptersIntoOneFile) {
  const Files files;
  const Outcome outcome = RunCommand(Export, {"--model", files.model, "--builtin", GptFlag(),
                                              "--as", "merged", "--out", files.out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector read, ReadSafetensors(files.out));
  EXPECT_EQ(read.layout()->digest(), files.merged.layout()->digest());
  EXPECT_EQ(read.ComputeDigest(), files.merged.ComputeDigest());
  EXPECT_EQ(test::ReadSafetensorsHeader(files.out)["__metadata__"]["format"], "pt");
}

TEST(ExportTest, AFolderForHuggingFaceSaysTheSame) {
  const Files files;
  const Outcome outcome = RunCommand(Export, {"--model", files.model, "--builtin", GptFlag(),
                                              "--as", "hugging-face", "--out", files.out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  TRIB_ASSERT_OK_AND_ASSIGN(const PretrainedModel read, ReadHuggingFaceFolder(files.out));
  EXPECT_EQ(read.values.ComputeDigest(), files.merged.ComputeDigest());
  EXPECT_EQ(Say(files.out), Say(files.ordinary, {"--builtin", GptFlag()}));
  // And back: a folder as one file, which a job may begin with.
  const std::string back = files.dir.File("back.safetensors");
  const Outcome merged =
      RunCommand(Export, {"--model", files.out, "--as", "merged", "--out", back});
  EXPECT_EQ(merged.code, 0);
  const size_t section = merged.out.find("model: ");
  ASSERT_NE(section, std::string::npos) << merged.out;
  const auto model = nlohmann::json::parse(merged.out.substr(section + 7));
  EXPECT_EQ(model["initial"], back);
  EXPECT_EQ(model["builtin"]["name"], "gpt");
  EXPECT_EQ(model["builtin"]["context"], 6);
  EXPECT_EQ(ReadSafetensors(back)->ComputeDigest(), files.merged.ComputeDigest());
}

TEST(ExportTest, TheAdapterThatTheModelHolds) {
  const Files files;
  const Outcome outcome =
      RunCommand(Export, {"--model", files.model, "--builtin", GptFlag(), "--as", "peft",
                          "--base-name", "my/gpt2", "--out", files.out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector adapter,
                            ReadSafetensors(files.out + "/adapter_model.safetensors"));
  EXPECT_EQ(adapter.layout()->tensors().size(), 4u);
  const std::string name = "h.0.attn.c_proj.lora_B.weight";
  EXPECT_THAT(adapter.View("base_model.model.transformer." + name),
              ParamsNear(files.held.View(name), 0));
  const auto config = nlohmann::json::parse(ReadFile(files.out + "/adapter_config.json"));
  EXPECT_EQ(config["r"], 2);
  EXPECT_EQ(config["fan_in_fan_out"], true);
  EXPECT_EQ(config["task_type"], "CAUSAL_LM");
  EXPECT_EQ(config["base_model_name_or_path"], "my/gpt2");
}

TEST(ExportTest, TheAdapterOfADifferenceAndWhatItKeeps) {
  const Files files;
  const std::string base = files.dir.File("base.safetensors");
  ParamVector first(files.merged.layout());
  CopyShared(files.held, first);  // the weights, which the adapter stands beside
  first.View("ln_f.bias")[0] += 1;
  ASSERT_THAT(WriteSafetensors(first, base), test::IsOk());
  const std::string folder = files.dir.File("base");
  ASSERT_THAT(WriteHuggingFaceFolder(Gpt(), first, folder), test::IsOk());
  const auto run = [&](const std::string& model, const std::string& from) {
    return RunCommand(
        Export, {"--model", model, "--builtin", GptFlag(), "--as", "peft", "--base", from, "--rank",
                 "2", "--targets", "*.c_proj,*.c_attn", "--out", files.out});
  };
  const Outcome outcome = run(files.ordinary, base);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(run(files.ordinary, folder).out, outcome.out);
  EXPECT_EQ(run(files.model, folder).out, outcome.out) << "merged first";
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex("h.0.attn.c_attn +1\\.000000\n"));
  // Of all that changed, the bias is missing.
  const double bias = 1, products = SquaredDistance(files.merged, first) - bias;
  EXPECT_THAT(outcome.out,
              HasSubstr(absl::StrFormat("all that changed  %.6f\n", products / (products + bias))));
  EXPECT_THAT(outcome.out, HasSubstr("not in the adapter: ln_f.bias\n"));

  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector adapter,
                            ReadSafetensors(files.out + "/adapter_model.safetensors"));
  ParamVector again = first.Clone();
  const std::shared_ptr<const LoraPlan> plan = GptPlan();
  for (const LoraModule& module : plan->modules()) {
    LowRank factors{.rows = module.rows, .columns = module.columns, .rank = 2};
    const auto factor = [&](char which) {
      const auto view =
          adapter.View("base_model.model.transformer." + FactorName(module.name, which));
      return std::vector<float>(view.begin(), view.end());
    };
    factors.a = factor('A'), factors.b = factor('B');
    AddProduct(factors, again.View(module.weight), module.transposed);
    EXPECT_THAT(again.View(module.weight), ParamsNear(files.merged.View(module.weight), 1e-6));
  }
}

TEST(ExportTest, NamesTheFirstOfManyTensorsThatAnAdapterLeavesOut) {
  const Files files;
  const std::string base = files.dir.File("base.safetensors");
  ASSERT_THAT(WriteSafetensors(test::RandomParams(files.merged.layout(), 9), base), test::IsOk());
  const Outcome outcome =
      RunCommand(Export, {"--model", files.ordinary, "--builtin", GptFlag(), "--as", "peft",
                          "--base", base, "--rank", "1", "--out", files.out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  // Of 16 tensors 4 get adapters.
  EXPECT_THAT(outcome.out,
              HasSubstr("not in the adapter: wte.weight, wpe.weight, h.0.ln_1.weight"));
  EXPECT_THAT(outcome.out, HasSubstr(" and 2 more\n"));
}

TEST(ExportTest, TheAdapterOfAProgram) {
  const TempDir dir;
  const ParamVector held = test::RandomParams(
      test::MakeLayout(
          {{"fc.weight", {3, 5}}, {"fc.lora_A.weight", {2, 3}}, {"fc.lora_B.weight", {5, 2}}}),
      1);
  const std::string model = dir.File("model.safetensors"), out = dir.File("out");
  ASSERT_THAT(WriteSafetensors(held, model), test::IsOk());
  std::vector<std::string> args = {"--model", model,  "--program", dir.File("model.pt"),
                                   "--as",    "peft", "--out",     out};
  const Outcome refused = RunCommand(Export, args);
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.err, HasSubstr("'fc.lora_A.weight' has the shape (2, 3); allowed: (2, 5)"));
  args.push_back("--fan-in-fan-out");
  const Outcome outcome = RunCommand(Export, args);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector adapter,
                            ReadSafetensors(out + "/adapter_model.safetensors"));
  EXPECT_THAT(adapter.View("base_model.model.fc.lora_A.weight"),
              ParamsNear(held.View("fc.lora_A.weight"), 0));
  const auto config = nlohmann::json::parse(ReadFile(out + "/adapter_config.json"));
  EXPECT_EQ(config["fan_in_fan_out"], true);
  EXPECT_EQ(config["task_type"], nullptr);
}

TEST(ExportTest, AProgramWithWhatItLearnt) {
  const TempDir dir;
  const std::string program = dir.Write("model.pt", test::MlpProgram(6, 5, 3));
  const DataShape shape{{6}, 3, /*tokens=*/false};
  JobInfo job;
  test::SetProgram(ReadFile(program), job);
  const LayoutPtr layout = TorchWorker().InitialModel(job, shape, 1)->layout();
  const ParamVector trained = test::RandomParams(layout, 4);
  const std::string model = dir.File("model.safetensors"), out = dir.File("trained.pt");
  ASSERT_THAT(WriteSafetensors(trained, model), test::IsOk());
  const Outcome outcome = RunCommand(
      Export, {"--model", model, "--program", program, "--as", "torchscript", "--out", out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  test::SetProgram(ReadFile(out), job);
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector first, TorchWorker().InitialModel(job, shape, 1));
  EXPECT_EQ(first.ComputeDigest(), trained.ComputeDigest());
}

TEST(ExportTest, ABuiltInModelAsAProgramHasTheSameLoss) {
  const TempDir dir;
  auto data = std::make_shared<Dataset>();
  data->example_shape = {1, 8, 8};
  data->num_classes = 3;
  Rng rng(5);
  for (int i = 0; i < 20; ++i) data->labels.push_back(rng.UniformInt(3));
  for (int i = 0; i < 20 * 64; ++i) data->features.push_back(static_cast<float>(rng.Normal()));
  const DataView view = DataView::All(data);
  JobInfo job;
  job.model_json = R"({"builtin": {"name": "cnn"}})";
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector model,
                            worker.InitialModel(job, DataShape::Of(*data), 1));
  const std::string file = dir.File("model.safetensors"), out = dir.File("model.pt");
  ASSERT_THAT(WriteSafetensors(model, file), test::IsOk());
  const Outcome outcome =
      RunCommand(Export, {"--model", file, "--builtin", "{name: cnn}", "--as", "torchscript",
                          "--example-shape", "1,8,8", "--out", out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult expected, worker.Evaluate({.job = job}, view, model));
  JobInfo traced;
  test::SetProgram(ReadFile(out), traced);
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector first,
                            worker.InitialModel(traced, DataShape::Of(*data), 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult found, worker.Evaluate({.job = traced}, view, first));
  EXPECT_EQ(found.loss, expected.loss);
  EXPECT_EQ(found.accuracy, expected.accuracy);
}

TEST(ExportTest, SaysWhatIsWrong) {
  const Files files;
  const std::string program = files.dir.Write("model.pt", test::MlpProgram(6, 5, 3));
  const auto flags = [&](const std::string& as, std::vector<std::string> more,
                         std::string model = "") {
    if (model.empty()) model = files.model;
    more.insert(more.end(), {"--model", model, "--as", as, "--out", files.out});
    return more;
  };
  const auto gpt = [&](const std::string& as, std::vector<std::string> more,
                       const std::string& model = "") {
    more.insert(more.end(), {"--builtin", GptFlag()});
    return flags(as, more, model);
  };
  BuiltinModel deeper = Gpt();
  deeper.layers = 2;
  const struct {
    std::vector<std::string> args;
    int code;
    const char* message;
  } kBad[] = {
      {{"--model", files.model, "--out", files.out}, 2, "--as"},
      {flags("onnx", {}), 2, "--as"},
      {gpt("peft", {"--program", program}), 2, "--program"},
      {gpt("peft", {"--base", files.ordinary}), 2, "--rank"},
      {gpt("peft", {"--base", files.ordinary, "--rank", "0"}), 2, "--rank"},
      {flags("merged", {}), 3, "--model is no folder, --builtin is missing"},
      {gpt("merged", {"--base-name", "x"}), 3, "--base-name is given; allowed with --as peft"},
      {gpt("merged", {"--base", files.ordinary, "--rank", "2"}), 3,
       "--base is given; allowed with --as peft"},
      {gpt("peft", {"--rank", "2"}), 3, "--rank is given; allowed with --base"},
      {gpt("hugging-face", {"--example-shape", "6"}), 3,
       "--example-shape is given; allowed with --as torchscript of a built-in model"},
      {flags("hugging-face", {"--program", program}), 3, "--program is given; allowed with"},
      {flags("hugging-face", {"--builtin", "{name: mlp}"}, program), 3, "model.pt"},
      {flags("hugging-face", {"--builtin", "{name: gpt}"}), 3, "model gpt has no 'context'"},
      {flags("hugging-face", {"--builtin", config::Print(deeper).dump()}), 3,
       "held.safetensors: tensor 'h.1.ln_1.weight' is missing"},
      {flags("hugging-face", {"--builtin", "{name: mlp}"}, files.ordinary), 3,
       "model mlp is no language model"},
      {gpt("peft", {}, files.ordinary), 3, "plain.safetensors holds no adapter"},
      {gpt("peft", {"--base", files.ordinary, "--rank", "9"}), 3, "the model is the base"},
      {gpt("torchscript", {}), 3, "texts of one length"},
      {flags("torchscript", {"--builtin", "{name: mlp}"}, files.ordinary), 3,
       "--example-shape is missing"},
      {flags("torchscript", {"--program", program}, files.ordinary), 3,
       "tensor 'wte.weight' of the model is none of the program's"},
      {flags("torchscript", {"--program", files.dir.File("none.pt")}, files.ordinary), 3,
       "none.pt"},
      {gpt("merged", {}, files.dir.File("none")), 3, "there is no file"},
  };
  for (const auto& bad : kBad) {
    const Outcome outcome = RunCommand(Export, bad.args);
    EXPECT_EQ(outcome.code, bad.code) << bad.message << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(bad.message));
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(files.out)) << bad.message;
  }
  const Outcome help = RunCommand(Export, {"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
}

}  // namespace
}  // namespace tributary
