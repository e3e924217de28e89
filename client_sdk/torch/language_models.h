// The built-in language models: transformers that give, for every token of a text, the logits of
// the token after it. Their parameters have the names, shapes and meaning of Hugging Face's.
//
//   gpt    x += Attention(LN(x)); x += W₂·gelu(W₁·LN(x))        learned positions, added to the
//                                                               embeddings; weights [in, out]
//   llama  x += Attention(RMS(x)); x += W₂·(silu(G·RMS(x))∘U·RMS(x))
//                                                               rotary positions; weights [out, in]
//
// Attention of a head: softmax(q·kᵀ/√d + M)·v, M = −∞ for tokens to come (Vaswani et al. 2017,
// equation 1). In llama a group of heads shares one head of keys and values (Ainslie et al. 2023).
//
//   LN, gelu   layer norm; x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))  (Radford et al. 2019)
//   RMS(x)     w∘x/√(mean(x²) + ε)                                   (Zhang & Sennrich 2019)
//   G, U, W₂   gate_proj, up_proj, down_proj: SwiGLU                 (Shazeer 2020)
//   rotary     at position t the pair (x_i, x_{i+d/2}) of q and k is turned by the angle
//              t·base^(−2i/d), in the half-split order of Hugging Face   (Su et al. 2021)
//
// All matrices begin normal with deviation 0.02, those that write to the stream with that divided
// by √(2·layers) (Radford et al. 2019, section 2.3); biases 0, norms the identity. There is no
// dropout. Hooks are told of all layers but the output layer where the embeddings are its weights.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LANGUAGE_MODELS_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LANGUAGE_MODELS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "client_sdk/torch/models.h"

namespace tributary {

// `spec.is_language_model()`. InvalidArgument: data that are no text, or whose length or vocabulary
// is larger than the spec's context or vocabulary.
absl::StatusOr<std::unique_ptr<TorchModel>> MakeLanguageModel(const BuiltinModel& spec,
                                                              const DataShape& shape);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LANGUAGE_MODELS_H_
