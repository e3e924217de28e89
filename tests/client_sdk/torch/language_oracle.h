// gpt and llama as plain loops over doubles, written from their formulas
// (client_sdk/torch/language_models.h), to hold the models against.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_TORCH_LANGUAGE_ORACLE_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_TORCH_LANGUAGE_ORACLE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/params/param_vector.h"
#include "common/train_spec/train_spec.h"

namespace tributary::test {

using Values = std::map<std::string, std::vector<double>>;  // by the tensor's name
using Rows = std::vector<std::vector<double>>;

Values ValuesOf(const ParamVector& params);

// [tokens, vocabulary]
Rows OracleLogits(const BuiltinModel& spec, const Values& values, absl::Span<const int32_t> tokens);

// The mean of −ln softmax(logits)[the next token] over the windows, which are `window` tokens long.
double OracleLoss(const BuiltinModel& spec, const Values& values, absl::Span<const int32_t> windows,
                  size_t window);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_TORCH_LANGUAGE_ORACLE_H_
