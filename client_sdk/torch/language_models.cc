#include "client_sdk/torch/language_models.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

using Params = absl::Span<const at::Tensor>;

constexpr double kDeviation = 0.02;

// softmax(q·kᵀ/√d + M)·v as [n · length, heads · d]. q [n, length, heads, d]; k, v [n, length,
// kv_heads, d].
at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t n = q.size(0), length = q.size(1), heads = q.size(2), d = q.size(3);
  const int64_t kv_heads = k.size(2), group = heads / kv_heads;
  const at::Tensor to_come =
      at::full({length, length}, -std::numeric_limits<float>::infinity()).triu_(1);
  // The heads that share a head of keys lie one above the other, in one product.
  const at::Tensor stacked =
      (q / std::sqrt(static_cast<double>(d))).transpose(1, 2).reshape({n, kv_heads, -1, d});
  const at::Tensor scores = at::matmul(stacked, k.permute({0, 2, 3, 1}));
  const at::Tensor weights =
      at::softmax(scores.view({n, kv_heads, group, length, length}) + to_come, -1);
  return at::matmul(weights.view({n, kv_heads, -1, length}), v.transpose(1, 2))
      .view({n, heads, length, d})
      .transpose(1, 2)
      .reshape({n * length, heads * d});
}

class LanguageModel : public TorchModel {
 protected:
  // `length`: tokens of an example.
  LanguageModel(const LanguageModelShape& shape, int64_t length)
      : shape_(shape),
        length_(length),
        residual_deviation_(kDeviation / std::sqrt(2.0 * static_cast<double>(shape.layers))) {}

  // A matrix that multiplies every token.
  void AddMatrix(const std::string& name, std::vector<int64_t> sizes, double deviation = kDeviation,
                 LayerWeight layer = LayerWeight::kOutputsFirst) {
    AddParam({name + ".weight", std::move(sizes), 0, 0, /*uses=*/length_, deviation, layer});
  }
  // One whose rows are looked up.
  void AddTable(const std::string& name, std::vector<int64_t> sizes, bool multiplies = false) {
    AddParam({name + ".weight", std::move(sizes), 0, 0, multiplies ? length_ : 0, kDeviation});
  }
  void AddBias(const std::string& name, int64_t size) { AddParam({name + ".bias", {size}}); }
  void AddNormWeight(const std::string& name) {
    AddParam({name + ".weight", {shape_.width}, 0, /*centre=*/1});
  }

  const LanguageModelShape shape_;
  const int64_t length_;
  const double residual_deviation_;
};

class Gpt final : public LanguageModel {
 public:
  Gpt(const LanguageModelShape& shape, int64_t context, int64_t vocabulary, int64_t length)
      : LanguageModel(shape, length) {
    const int64_t width = shape.width;
    AddTable("wte", {vocabulary, width}, /*multiplies=*/true);
    AddTable("wpe", {context, width});
    for (int64_t i = 0; i < shape.layers; ++i) {
      const std::string block = absl::StrCat("h.", i, ".");
      AddLayerNorm(block + "ln_1");
      AddConv1d(block + "attn.c_attn", width, 3 * width, kDeviation);
      AddConv1d(block + "attn.c_proj", width, width, residual_deviation_);
      AddLayerNorm(block + "ln_2");
      AddConv1d(block + "mlp.c_fc", width, shape.mlp_width, kDeviation);
      AddConv1d(block + "mlp.c_proj", shape.mlp_width, width, residual_deviation_);
    }
    AddLayerNorm("ln_f");
  }

  at::Tensor Forward(Params p, const at::Tensor& inputs, LayerHook* hook) const override {
    const int64_t n = inputs.size(0), length = inputs.size(1);
    size_t next = 0;
    const auto take = [&]() -> const at::Tensor& { return p[next++]; };
    const auto norm = [&](const at::Tensor& x) {
      const at::Tensor& weight = take();
      return at::layer_norm(x, {shape_.width}, weight, take(), shape_.norm_epsilon);
    };
    const auto conv1d = [&](const at::Tensor& x) {
      const size_t first = next;
      next += 2;
      return Conv1d(p, first, x, hook);
    };
    const at::Tensor& embeddings = take();
    at::Tensor x = at::embedding(embeddings, inputs) + take().narrow(0, 0, length);
    x = x.view({n * length, shape_.width});
    for (int64_t i = 0; i < shape_.layers; ++i) {
      const std::vector<at::Tensor> qkv =
          conv1d(norm(x)).view({n, length, 3 * shape_.heads, -1}).split(shape_.heads, 2);
      x = x + conv1d(Attend(qkv[0], qkv[1], qkv[2]));
      x = x + conv1d(at::gelu(conv1d(norm(x)), "tanh"));
    }
    return at::linear(norm(x), embeddings);
  }

 private:
  void AddLayerNorm(const std::string& name) {
    AddNormWeight(name);
    AddBias(name, shape_.width);
  }
  void AddConv1d(const std::string& name, int64_t in, int64_t out, double deviation) {
    AddMatrix(name, {in, out}, deviation, LayerWeight::kInputsFirst);
    AddBias(name, out);
  }
};

class Llama final : public LanguageModel {
 public:
  Llama(const LanguageModelShape& shape, int64_t vocabulary, int64_t length)
      : LanguageModel(shape, length) {
    const int64_t width = shape.width, kv_width = width / shape.heads * shape.kv_heads;
    AddTable("model.embed_tokens", {vocabulary, width}, /*multiplies=*/shape.tied);
    for (int64_t i = 0; i < shape.layers; ++i) {
      const std::string block = absl::StrCat("model.layers.", i, ".");
      AddNormWeight(block + "input_layernorm");
      AddProjection(block + "self_attn.q_proj", width);
      AddProjection(block + "self_attn.k_proj", kv_width);
      AddProjection(block + "self_attn.v_proj", kv_width);
      AddMatrix(block + "self_attn.o_proj", {width, width}, residual_deviation_);
      AddNormWeight(block + "post_attention_layernorm");
      AddMatrix(block + "mlp.gate_proj", {shape.mlp_width, width});
      AddMatrix(block + "mlp.up_proj", {shape.mlp_width, width});
      AddMatrix(block + "mlp.down_proj", {width, shape.mlp_width}, residual_deviation_);
    }
    AddNormWeight("model.norm");
    if (!shape.tied) AddMatrix("lm_head", {vocabulary, width});
  }

  at::Tensor Forward(Params p, const at::Tensor& inputs, LayerHook* hook) const override {
    const int64_t n = inputs.size(0), length = inputs.size(1);
    size_t next = 0;
    const auto norm = [&](const at::Tensor& x) {
      return x * (x.square().mean(-1, /*keepdim=*/true) + shape_.norm_epsilon).rsqrt() * p[next++];
    };
    const auto linear = [&](const at::Tensor& x, bool has_bias = false) {
      const size_t first = next;
      next += has_bias ? 2 : 1;
      return Linear(p, first, has_bias, x, hook);
    };
    const Rotation rotation = RotationOf(length);
    at::Tensor x = at::embedding(p[next++], inputs).view({n * length, shape_.width});
    for (int64_t i = 0; i < shape_.layers; ++i) {
      const at::Tensor read = norm(x);
      const auto heads = [&](int64_t count) {
        return linear(read, shape_.qkv_bias).view({n, length, count, -1});
      };
      const at::Tensor q = rotation.Of(heads(shape_.heads));
      const at::Tensor k = rotation.Of(heads(shape_.kv_heads));
      x = x + linear(Attend(q, k, heads(shape_.kv_heads)));
      const at::Tensor hidden = norm(x);
      const at::Tensor gate = at::silu(linear(hidden));
      x = x + linear(gate * linear(hidden));
    }
    x = norm(x);
    return shape_.tied ? at::linear(x, p.front()) : linear(x);
  }

 private:
  // Of the pairs (x_i, x_{i+d/2}) at every position. [length, 1, d/2]
  struct Rotation {
    at::Tensor cosine;
    at::Tensor sine;

    at::Tensor Of(const at::Tensor& x) const {
      const std::vector<at::Tensor> half = x.chunk(2, -1);
      return at::cat({half[0] * cosine - half[1] * sine, half[1] * cosine + half[0] * sine}, -1);
    }
  };

  Rotation RotationOf(int64_t length) const {
    const int64_t pairs = shape_.width / shape_.heads / 2;
    const at::Tensor frequencies =
        at::pow(shape_.rope_base, at::arange(pairs, at::kDouble) / -static_cast<double>(pairs));
    const at::Tensor angles =
        at::outer(at::arange(length, at::kDouble), frequencies).view({length, 1, pairs});
    return {angles.cos().to(at::kFloat), angles.sin().to(at::kFloat)};
  }

  void AddProjection(const std::string& name, int64_t out) {
    AddMatrix(name, {out, shape_.width});
    if (shape_.qkv_bias) AddBias(name, out);
  }
};

// The spec's size, which the data must not exceed; or the data's.
absl::StatusOr<int64_t> Size(const char* name, std::optional<int64_t> of_spec, int64_t of_data) {
  if (!of_spec || *of_spec >= of_data) return of_spec.value_or(of_data);
  return absl::InvalidArgumentError(absl::StrCat("model.builtin.", name, " is ", *of_spec,
                                                 "; the data need ", of_data, " or more"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TorchModel>> MakeLanguageModel(const BuiltinModel& spec,
                                                              const DataShape& shape) {
  if (!shape.tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", spec.name, " reads text; the data are labelled examples; allowed ",
                     "for them: logistic, mlp, cnn, resnet"));
  }
  const int64_t length = shape.example_shape.front();
  TRIB_ASSIGN_OR_RETURN(const int64_t context, Size("context", spec.context, length));
  TRIB_ASSIGN_OR_RETURN(const int64_t vocabulary,
                        Size("vocabulary", spec.vocabulary, shape.num_classes));
  std::unique_ptr<TorchModel> model;
  if (spec.name == "gpt") {
    model = std::make_unique<Gpt>(spec.LanguageModel(), context, vocabulary, length);
  } else {
    model = std::make_unique<Llama>(spec.LanguageModel(), vocabulary, length);
  }
  return model;
}

}  // namespace tributary
