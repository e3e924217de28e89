// Language models small enough for loops over doubles.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_TORCH_SMALL_LANGUAGE_MODELS_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_TORCH_SMALL_LANGUAGE_MODELS_H_

#include "common/train_spec/train_spec.h"

namespace tributary::test {

inline BuiltinModel SmallGpt() {
  BuiltinModel spec;
  spec.name = "gpt";
  spec.layers = 2;
  spec.heads = 3;
  spec.width = 12;
  spec.mlp_width = 20;
  return spec;
}

// Two heads of queries to one of keys.
inline BuiltinModel SmallLlama() {
  BuiltinModel spec;
  spec.name = "llama";
  spec.layers = 2;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.width = 16;
  spec.mlp_width = 20;
  return spec;
}

// All heads of queries to one of keys; biases, and the embeddings as its output layer.
inline BuiltinModel SmallQwen() {
  BuiltinModel spec = SmallLlama();
  spec.kv_heads = 1;
  spec.tied = true;
  spec.qkv_bias = true;
  spec.rope_base = 300;
  return spec;
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_TORCH_SMALL_LANGUAGE_MODELS_H_
