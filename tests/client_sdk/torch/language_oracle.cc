#include "tests/client_sdk/torch/language_oracle.h"

#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"

namespace tributary::test {
namespace {

// One model over one text.
class Oracle {
 public:
  Oracle(const BuiltinModel& spec, const Values& values)
      : shape_(spec.LanguageModel()), values_(values) {}

  Rows Gpt(absl::Span<const int32_t> tokens) const {
    Rows x = Embedded("wte.weight", tokens);
    const std::vector<double>& positions = values_.at("wpe.weight");
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t c = 0; c < x[t].size(); ++c) x[t][c] += positions[t * x[t].size() + c];
    }
    const auto width = static_cast<size_t>(shape_.width);
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      const std::string block = absl::StrCat("h.", layer, ".");
      const Rows qkv = Times(Normed(x, block + "ln_1"), block + "attn.c_attn", /*in_first=*/true);
      const Rows read = Attention(Columns(qkv, 0, width), Columns(qkv, width, width),
                                  Columns(qkv, 2 * width, width), shape_.heads);
      Add(Times(read, block + "attn.c_proj", true), x);
      Rows hidden = Times(Normed(x, block + "ln_2"), block + "mlp.c_fc", true);
      for (auto& row : hidden) {
        for (double& h : row) {
          h = 0.5 * h *
              (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (h + 0.044715 * h * h * h)));
        }
      }
      Add(Times(hidden, block + "mlp.c_proj", true), x);
    }
    return Times(Normed(x, "ln_f"), "wte", false);
  }

  Rows Llama(absl::Span<const int32_t> tokens) const {
    Rows x = Embedded("model.embed_tokens.weight", tokens);
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      const std::string block = absl::StrCat("model.layers.", layer, ".");
      const Rows read = Normed(x, block + "input_layernorm");
      const Rows q = Turned(Times(read, block + "self_attn.q_proj", false));
      const Rows k = Turned(Times(read, block + "self_attn.k_proj", false));
      const Rows v = Times(read, block + "self_attn.v_proj", false);
      Add(Times(Attention(q, k, v, shape_.kv_heads), block + "self_attn.o_proj", false), x);
      const Rows normed = Normed(x, block + "post_attention_layernorm");
      Rows gate = Times(normed, block + "mlp.gate_proj", false);
      const Rows up = Times(normed, block + "mlp.up_proj", false);
      for (size_t t = 0; t < gate.size(); ++t) {
        for (size_t c = 0; c < gate[t].size(); ++c) {
          gate[t][c] *= up[t][c] / (1 + std::exp(-gate[t][c]));
        }
      }
      Add(Times(gate, block + "mlp.down_proj", false), x);
    }
    return Times(Normed(x, "model.norm"), shape_.tied ? "model.embed_tokens" : "lm_head", false);
  }

 private:
  Rows Embedded(const std::string& table, absl::Span<const int32_t> tokens) const {
    const std::vector<double>& values = values_.at(table);
    Rows rows;
    for (const int32_t token : tokens) {
      const auto begin = values.begin() + token * shape_.width;
      rows.emplace_back(begin, begin + shape_.width);
    }
    return rows;
  }

  // x·W + b. W [in, out], or [out, in] unless `in_first`.
  Rows Times(const Rows& x, const std::string& name, bool in_first) const {
    const std::vector<double>& weight = values_.at(name + ".weight");
    const auto bias = values_.find(name + ".bias");
    const size_t in = x.front().size(), out = weight.size() / in;
    Rows y(x.size(), std::vector<double>(out));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t j = 0; j < out; ++j) {
        if (bias != values_.end()) y[t][j] = bias->second[j];
        for (size_t i = 0; i < in; ++i) {
          y[t][j] += x[t][i] * weight[in_first ? i * out + j : j * in + i];
        }
      }
    }
    return y;
  }

  // Layer norm, or RMS norm if the norm has no bias.
  Rows Normed(Rows x, const std::string& name) const {
    const std::vector<double>& weight = values_.at(name + ".weight");
    const auto bias = values_.find(name + ".bias");
    const auto width = static_cast<double>(weight.size());
    for (auto& row : x) {
      double mean = 0, square = 0;
      if (bias != values_.end()) {
        for (const double value : row) mean += value / width;
      }
      for (const double value : row) square += (value - mean) * (value - mean) / width;
      for (size_t c = 0; c < row.size(); ++c) {
        row[c] = (row[c] - mean) / std::sqrt(square + shape_.norm_epsilon) * weight[c];
        if (bias != values_.end()) row[c] += bias->second[c];
      }
    }
    return x;
  }

  Rows Attention(const Rows& q, const Rows& k, const Rows& v, int64_t kv_heads) const {
    const auto d = static_cast<size_t>(shape_.width / shape_.heads);
    Rows out(q.size(), std::vector<double>(q.front().size()));
    for (size_t head = 0; head < static_cast<size_t>(shape_.heads); ++head) {
      const size_t shared = head / static_cast<size_t>(shape_.heads / kv_heads);
      for (size_t t = 0; t < q.size(); ++t) {
        std::vector<double> weights(t + 1);
        double sum = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (size_t c = 0; c < d; ++c) score += q[t][head * d + c] * k[s][shared * d + c];
          weights[s] = std::exp(score / std::sqrt(static_cast<double>(d)));
          sum += weights[s];
        }
        for (size_t s = 0; s <= t; ++s) {
          for (size_t c = 0; c < d; ++c) {
            out[t][head * d + c] += weights[s] / sum * v[s][shared * d + c];
          }
        }
      }
    }
    return out;
  }

  // Rotary positions.
  Rows Turned(const Rows& x) const {
    const auto d = static_cast<size_t>(shape_.width / shape_.heads);
    Rows y = x;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size() / d; ++head) {
        for (size_t i = 0; i < d / 2; ++i) {
          const double angle =
              static_cast<double>(t) *
              std::pow(shape_.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(d));
          const size_t a = head * d + i, b = a + d / 2;
          y[t][a] = x[t][a] * std::cos(angle) - x[t][b] * std::sin(angle);
          y[t][b] = x[t][b] * std::cos(angle) + x[t][a] * std::sin(angle);
        }
      }
    }
    return y;
  }

  static Rows Columns(const Rows& x, size_t first, size_t count) {
    Rows part;
    for (const auto& row : x) {
      const auto begin = row.begin() + static_cast<ptrdiff_t>(first);
      part.emplace_back(begin, begin + static_cast<ptrdiff_t>(count));
    }
    return part;
  }

  static void Add(const Rows& y, Rows& x) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t c = 0; c < x[t].size(); ++c) x[t][c] += y[t][c];
    }
  }

  const LanguageModelShape shape_;
  const Values& values_;
};

}  // namespace

Values ValuesOf(const ParamVector& params) {
  Values values;
  for (const ParamLayout::Tensor& tensor : params.layout()->tensors()) {
    const auto view = params.View(tensor.name);
    values[tensor.name].assign(view.begin(), view.end());
  }
  return values;
}

Rows OracleLogits(const BuiltinModel& spec, const Values& values,
                  absl::Span<const int32_t> tokens) {
  const Oracle oracle(spec, values);
  return spec.name == "gpt" ? oracle.Gpt(tokens) : oracle.Llama(tokens);
}

double OracleLoss(const BuiltinModel& spec, const Values& values, absl::Span<const int32_t> windows,
                  size_t window) {
  double loss = 0;
  for (size_t start = 0; start < windows.size(); start += window) {
    const auto tokens = windows.subspan(start, window);
    const Rows logits = OracleLogits(spec, values, tokens.first(window - 1));
    for (size_t t = 0; t + 1 < window; ++t) {
      double sum = 0;
      for (const double logit : logits[t]) sum += std::exp(logit);
      loss += std::log(sum) - logits[t][static_cast<size_t>(tokens[t + 1])];
    }
  }
  return loss / static_cast<double>(windows.size() / window * (window - 1));
}

}  // namespace tributary::test
