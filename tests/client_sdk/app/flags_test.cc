#include "client_sdk/app/flags.h"

#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;

std::variant<ClientFlags, int> Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "tributary-client");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseFlags(static_cast<int>(argv.size()), argv.data());
}

ClientFlags Flags(const std::vector<std::string>& arguments) {
  return std::get<ClientFlags>(Parse(arguments));
}

TEST(FlagsTest, EveryFlagHasItsField) {
  const ClientFlags flags = Flags({"--server",
                                   "h:1",
                                   "--id",
                                   "c7",
                                   "--data",
                                   "fashion_mnist",
                                   "--partition",
                                   "iid:clients=2",
                                   "--evaluate-only",
                                   "--once",
                                   "--throttle",
                                   "0.02",
                                   "--exit-when-no-work",
                                   "2.5",
                                   "--connect-timeout",
                                   "9",
                                   "--ca",
                                   "a",
                                   "--cert",
                                   "b",
                                   "--key",
                                   "c",
                                   "--allow-insecure",
                                   "--state-dir",
                                   "d",
                                   "--log-level",
                                   "debug",
                                   "--log-format",
                                   "json"});
  EXPECT_EQ(flags.options.server, "h:1");
  EXPECT_EQ(flags.options.id, ClientId("c7"));
  EXPECT_EQ(flags.data, "fashion_mnist");
  EXPECT_EQ(flags.partition, "iid:clients=2");
  EXPECT_TRUE(flags.options.evaluate_only);
  EXPECT_TRUE(flags.once);
  EXPECT_EQ(flags.throttle, absl::Milliseconds(20));
  EXPECT_EQ(flags.options.idle_limit, absl::Milliseconds(2500));
  EXPECT_EQ(flags.options.once_limit, absl::Milliseconds(2500));
  EXPECT_EQ(flags.options.connect_limit, absl::Seconds(9));
  EXPECT_EQ(flags.options.ca_file, "a");
  EXPECT_EQ(flags.options.cert_file, "b");
  EXPECT_EQ(flags.options.key_file, "c");
  EXPECT_TRUE(flags.options.allow_insecure);
  EXPECT_EQ(flags.options.state_dir, "d");
  EXPECT_EQ(flags.log_level, "debug");
  EXPECT_EQ(flags.log_format, "json");
}

TEST(FlagsTest, ByDefaultItRunsForEverUnderAnIdOfItsOwn) {
  const ClientFlags flags = Flags({"--server", "localhost:1", "--data", "mnist"});
  EXPECT_EQ(flags.options.id.value(), DefaultClientId());
  EXPECT_TRUE(IsValidId(flags.options.id.value()));
  EXPECT_EQ(flags.options.idle_limit, absl::InfiniteDuration());
  EXPECT_EQ(flags.options.connect_limit, absl::InfiniteDuration());
  EXPECT_FALSE(flags.once);
  EXPECT_FALSE(flags.options.allow_insecure);
  EXPECT_FALSE(flags.options.allow_programs);
  EXPECT_TRUE(Flags({"--server", "localhost:1", "--data", "mnist", "--allow-programs"})
                  .options.allow_programs);
  EXPECT_TRUE(Validate(flags.options).ok());
  EXPECT_EQ(Flags({"--server", "localhost:1", "--data", "mnist", "--once"}).options.connect_limit,
            absl::Minutes(1));
}

TEST(FlagsTest, UsageErrorsAreCodeTwo) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {"--server", "h:1"},
           {"--data", "mnist"},
           {"--server", "h:1", "--data", "mnist", "--sever", "x"},
           {"--server", "h:1", "--data", "mnist", "surplus"},
           {"--server", "h:1", "--data", "mnist", "--exit-when-no-work", "-1"},
           {"--server", "h:1", "--data", "mnist", "--throttle", "0"},
           {"--server", "h:1", "--data", "mnist", "--state-dir", "d"},  // without an id of its own
           {"--server", "h:1", "--data", "mnist", "--connect-timeout", "soon"},
       }) {
    const auto parsed = Parse(arguments);
    ASSERT_TRUE(std::holds_alternative<int>(parsed));
    EXPECT_EQ(std::get<int>(parsed), 2);
  }
}

TEST(FlagsTest, HelpHasAnExampleAndVersionItsNumber) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(std::get<int>(Parse({"--help"})), 0);
  const std::string help = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, HasSubstr("--partition dirichlet:alpha=0.3"));
  EXPECT_THAT(help, HasSubstr("130 interrupted"));
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(std::get<int>(Parse({"--version"})), 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("tributary-client 0."));
}

TEST(FlagsTest, ExitCodesAreTheDocumentedOnes) {
  EXPECT_EQ(ExitCode(absl::OkStatus(), false), 0);
  EXPECT_EQ(ExitCode(absl::InternalError(""), false), 1);
  EXPECT_EQ(ExitCode(absl::DeadlineExceededError(""), false), 1);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError(""), false), 3);
  EXPECT_EQ(ExitCode(absl::UnavailableError(""), false), 4);
  EXPECT_EQ(ExitCode(absl::UnauthenticatedError(""), false), 5);
  EXPECT_EQ(ExitCode(absl::PermissionDeniedError(""), false), 5);
  EXPECT_EQ(ExitCode(absl::OkStatus(), true), 130);
  EXPECT_EQ(ExitCode(absl::CancelledError(""), true), 130);
}

}  // namespace
}  // namespace tributary
