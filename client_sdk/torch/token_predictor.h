// TokenPredictor: a language model and its values, asked what comes next.
//
//   TRIB_ASSIGN_OR_RETURN(const auto predictor, TokenPredictor::Create(spec, std::move(model)));
//   TRIB_ASSIGN_OR_RETURN(const auto more, predictor->Continue(prompt, {.tokens = 50}));
//
// No LibTorch header is needed to include this one.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_TOKEN_PREDICTOR_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_TOKEN_PREDICTOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/params/param_vector.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

struct ContinueOptions {
  int64_t tokens = 0;
  double temperature = 0;  // logits are divided by it before a token is drawn; 0: the likeliest
  uint64_t seed = 1;       // of the draws
};

// Immutable, thread-safe.
class TokenPredictor {
 public:
  // InvalidArgument: no language model, one without `context` or `vocabulary`, or values of another
  // layout.
  static absl::StatusOr<std::unique_ptr<TokenPredictor>> Create(const BuiltinModel& spec,
                                                                ParamVector model);
  virtual ~TokenPredictor() = default;

  // Of the token after each of `tokens`, given those up to it: [tokens.size(), vocabulary], row by
  // row. InvalidArgument: no token, more than the context, or one that the vocabulary does not
  // have.
  virtual absl::StatusOr<std::vector<float>> Logits(absl::Span<const int32_t> tokens) const = 0;

  // The tokens after `prompt`, one at a time; each sees no more than the last `context` tokens
  // before it. Ties go to the smaller token. Errors as Logits; InvalidArgument: a negative number
  // of tokens or temperature.
  absl::StatusOr<std::vector<int32_t>> Continue(absl::Span<const int32_t> prompt,
                                                const ContinueOptions& options) const;

 protected:
  TokenPredictor(int64_t context, int64_t vocabulary)
      : context_(context), vocabulary_(vocabulary) {}

  const int64_t context_;
  const int64_t vocabulary_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_TOKEN_PREDICTOR_H_
