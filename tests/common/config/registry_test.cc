#include "common/registry.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

class Greeter {
 public:
  virtual ~Greeter() = default;
  virtual std::string Greet() const = 0;
};

class Polite : public Greeter {
 public:
  struct Options {
    std::string title = "Dr";
    static void Describe(config::Fields<Options>& fields) {
      fields.Add("title", &Options::title, "said before the name").OneOf({"Dr", "Prof"});
    }
  };
  static absl::StatusOr<std::unique_ptr<Polite>> Create(const Options& options,
                                                        const std::string& name) {
    if (name.empty()) return absl::InvalidArgumentError("nobody to greet");
    return std::unique_ptr<Polite>(new Polite(options.title + " " + name));
  }
  std::string Greet() const override { return "Good day, " + whom_; }

 private:
  explicit Polite(std::string whom) : whom_(std::move(whom)) {}
  std::string whom_;
};

class Curt : public Greeter {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<Curt>> Create(const Options&, const std::string&) {
    return std::make_unique<Curt>();
  }
  std::string Greet() const override { return "Hi"; }
};

using Greeters = Registry<Greeter, const std::string&>;

const Greeters& GreeterRegistry() {
  static const auto* const registry = new Greeters(
      "greeter",
      {Greeters::Of<Polite>("polite", "with a title"), Greeters::Of<Curt>("curt", "in one word")});
  return *registry;
}

struct Letter {
  config::Choice greeting;
  static void Describe(config::Fields<Letter>& fields) {
    fields.Add("greeting", &Letter::greeting, "how it begins")
        .Required()
        .Alternatives(GreeterRegistry().Alternatives());
  }
};

absl::StatusOr<Letter> ParseLetter(const char* json) {
  return config::Parse<Letter>(config::NodeFromJson(nlohmann::json::parse(json)), "letter");
}

TEST(RegistryTest, AParsedChoiceMakesTheImplementation) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Letter letter,
                            ParseLetter(R"({"greeting": {"polite": {"title": "Prof"}}})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Greeter> greeter,
                            GreeterRegistry().Create(letter.greeting, "Noether"));
  EXPECT_EQ(greeter->Greet(), "Good day, Prof Noether");
}

TEST(RegistryTest, ABareNameHasTheDefaultOptions) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Letter letter, ParseLetter(R"({"greeting": "polite"})"));
  EXPECT_EQ(letter.greeting.options, nlohmann::json({{"title", "Dr"}}));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Greeter> greeter,
                            GreeterRegistry().Create(letter.greeting, "Noether"));
  EXPECT_EQ(greeter->Greet(), "Good day, Dr Noether");
}

TEST(RegistryTest, UnknownNamesAreRefusedByTheParserAndByCreate) {
  EXPECT_THAT(ParseLetter(R"({"greeting": "polit"})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("did you mean 'polite'?")));
  EXPECT_THAT(GreeterRegistry().Create({.name = "polit"}, "Noether"),
              StatusIs(Code::kNotFound,
                       "no greeter is called 'polit'; allowed: one of polite, curt; did you mean "
                       "'polite'?"));
}

TEST(RegistryTest, BadOptionsAndFactoryErrorsComeBack) {
  const config::Choice bad = {.name = "polite", .options = {{"title", "Mr"}}};
  EXPECT_THAT(GreeterRegistry().Create(bad, "Noether"),
              StatusIs(Code::kInvalidArgument, HasSubstr("polite.title: unknown name")));
  EXPECT_THAT(GreeterRegistry().Create({.name = "polite"}, ""),
              StatusIs(Code::kInvalidArgument, "nobody to greet"));
}

TEST(RegistryTest, AlternativesAreTheEntries) {
  const auto alternatives = GreeterRegistry().Alternatives();
  ASSERT_EQ(alternatives.size(), 2u);
  EXPECT_EQ(alternatives[1].name, "curt");
  EXPECT_EQ(alternatives[1].doc, "in one word");
  EXPECT_EQ(alternatives[0].schema, &config::SchemaOf<Polite::Options>());
}

}  // namespace
}  // namespace tributary
