// Matchers for absl::Status and absl::StatusOr.
//
//   EXPECT_THAT(store.Put(version), IsOk());
//   EXPECT_THAT(ParsePort("80"), IsOkAndHolds(80));
//   EXPECT_THAT(ParsePort("x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("port")));
//   TRIB_ASSERT_OK_AND_ASSIGN(ParamVector params, ReadSafetensors(path));
#ifndef TRIBUTARY_TESTS_TESTING_STATUS_MATCHERS_H_
#define TRIBUTARY_TESTS_TESTING_STATUS_MATCHERS_H_

#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary::test {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << "which is " << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

MATCHER_P(StatusIs, code,
          std::string(negation ? "has not" : "has") + " the code " +
              absl::StatusCodeToString(code)) {
  *result_listener << "which is " << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

// `message`: a string, or a matcher of std::string.
MATCHER_P2(StatusIs, code, message,
           std::string(negation ? "has not" : "has") + " the code " +
               absl::StatusCodeToString(code) + " and a message that " +
               ::testing::DescribeMatcher<std::string>(message)) {
  *result_listener << "which is " << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         ::testing::Matches(message)(std::string(StatusOf(arg).message()));
}

// `value`: a value, or a matcher of the StatusOr's value type.
MATCHER_P(IsOkAndHolds, value,
          std::string(negation ? "is not OK or does not hold" : "is OK and holds") +
              " a value that " +
              ::testing::DescribeMatcher<typename std::decay_t<arg_type>::value_type>(value)) {
  if (!arg.ok()) {
    *result_listener << "which is " << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value, *arg, result_listener);
}

}  // namespace tributary::test

// In a function that returns void. Ends it with a failure when `expression` is not OK.
#define TRIB_ASSERT_OK_AND_ASSIGN(declaration, expression) \
  TRIB_ASSERT_OK_AND_ASSIGN_(TRIB_CONCAT_(trib_status_or_, __LINE__), declaration, expression)
#define TRIB_ASSERT_OK_AND_ASSIGN_(status_or, declaration, expression) \
  auto status_or = (expression);                                       \
  ASSERT_TRUE(status_or.ok()) << status_or.status();                   \
  declaration = *std::move(status_or)

#endif  // TRIBUTARY_TESTS_TESTING_STATUS_MATCHERS_H_
