// Option structs whose fields are declared once: name, member, documentation, range.
// From that one declaration come parsing with positions, defaults, validation, canonical
// JSON, the JSON Schema for editors and the tables in the docs.
//
//   struct SyncRoundOptions {
//     int64_t clients_per_round = 10;
//     std::optional<double> fraction;
//
//     static void Describe(config::Fields<SyncRoundOptions>& fields) {
//       fields.Add("clients_per_round", &SyncRoundOptions::clients_per_round,
//                  "clients drawn for each round").Min(1);
//       fields.Add("fraction", &SyncRoundOptions::fraction,
//                  "instead: share of the known clients").GreaterThan(0).Max(1);
//     }
//     // Optional: writes out what fields are short for. A second time it changes nothing.
//     void Expand();
//     // Optional: what no single field can say. The message names the fields.
//     absl::Status Validate() const;
//   };
//
//   TRIB_ASSIGN_OR_RETURN(auto options, config::Parse<SyncRoundOptions>(node,
//   "job.scheduler.sync_round"));
//
// Member types: bool, int64_t, double, std::string, absl::Duration (a number of seconds;
// name such a field `…_seconds`), an option struct, config::Switch of one, config::Choice,
// config::Node (a section that somebody else parses), std::optional of any of these and std::vector
// of any of these. A field is required when Required() is called. The default is the member's
// initial value; the struct must be default-constructible. A Duration is finite and, unless Min
// says otherwise, not negative.
//
// Errors are collected in file order. On an object whose fields are all right each Check() runs,
// then Expand(), then Validate(); their messages get the path and position of the field and of the
// object.
#ifndef TRIBUTARY_COMMON_CONFIG_SCHEMA_H_
#define TRIBUTARY_COMMON_CONFIG_SCHEMA_H_

#include <concepts>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/config/node.h"
#include "nlohmann/json.hpp"

namespace tributary::config {

class ObjectSchema;

// One alternative of a Choice.
struct Alternative {
  std::string name;
  std::string doc;
  const ObjectSchema* schema;  // of its options; not null; lives for ever
};

// "Exactly one of", chosen by name: `scheduler: {sync_round: {clients_per_round: 10}}`. A
// bare name, `codec: [raw]`, means the default options. `options` is complete: every
// default is filled in, so that it can be printed, hashed and sent.
struct Choice {
  std::string name;
  nlohmann::json options = nlohmann::json::object();
  Position position;
};

// What is on or off, with options where it is on: `x: true`, `x: false`, `x: {gain: 2}`. True means
// the defaults, and they are printed as true.
template <typename T>
struct Switch {
  bool on = true;
  T options;
};

namespace internal {

// Bounds and choices that a scalar field must keep; one struct for all types.
struct Constraints {
  std::optional<double> min, max;
  bool min_exclusive = false, max_exclusive = false;
  std::vector<std::string> one_of;        // strings only
  bool id = false;                        // strings only: IsValidId
  std::vector<Alternative> alternatives;  // Choice only
  std::optional<size_t> min_items;        // vectors only

  // "an integer from 1" for the noun "an integer"; "one of a, b" where there are names.
  std::string Allowed(absl::string_view noun) const;
  std::vector<std::string> Names() const;  // one_of, or the alternatives' names
};

// What a member type is, for people.
struct Shape {
  absl::string_view noun;                // "an integer"
  const ObjectSchema* object = nullptr;  // of an option struct, or of a list's items
  bool list = false;
};

void ParseValue(const Node& node, const std::string& path, const Constraints& c, bool& out,
                Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c, int64_t& out,
                Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c, double& out,
                Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c, std::string& out,
                Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c,
                absl::Duration& out, Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c, Choice& out,
                Errors& errors);
void ParseValue(const Node& node, const std::string& path, const Constraints& c, Node& out,
                Errors& errors);

nlohmann::json PrintValue(bool v);
nlohmann::json PrintValue(int64_t v);
nlohmann::json PrintValue(double v);
nlohmann::json PrintValue(const std::string& v);
nlohmann::json PrintValue(absl::Duration v);
nlohmann::json PrintValue(const Choice& v);
nlohmann::json PrintValue(const Node& v);

nlohmann::json JsonSchemaOf(const bool*, const Constraints& c);
nlohmann::json JsonSchemaOf(const int64_t*, const Constraints& c);
nlohmann::json JsonSchemaOf(const double*, const Constraints& c);
nlohmann::json JsonSchemaOf(const std::string*, const Constraints& c);
nlohmann::json JsonSchemaOf(const absl::Duration*, const Constraints& c);
nlohmann::json JsonSchemaOf(const Choice*, const Constraints& c);
nlohmann::json JsonSchemaOf(const Node*, const Constraints& c);

inline Shape ShapeOf(const bool*) { return {"true or false"}; }
inline Shape ShapeOf(const int64_t*) { return {"an integer"}; }
inline Shape ShapeOf(const double*) { return {"a number"}; }
inline Shape ShapeOf(const std::string*) { return {"a string"}; }
inline Shape ShapeOf(const absl::Duration*) { return {"a number of seconds"}; }
inline Shape ShapeOf(const Choice*) { return {"a name"}; }
inline Shape ShapeOf(const Node*) { return {"a mapping"}; }

void AddNotASwitch(const Node& node, const std::string& path, Errors& errors);
void AddNotAList(const Node& node, const std::string& path, Errors& errors);
void AddTooFew(const Node& node, const std::string& path, size_t least, Errors& errors);

}  // namespace internal

// The fields of one option struct, type-erased. Thread-safe after construction.
class ObjectSchema {
 public:
  struct Field {
    std::string name;
    std::string doc;
    bool required = false;
    internal::Constraints constraints;
    std::function<void(const Node&, const std::string& path, const internal::Constraints&,
                       void* object, Errors&)>
        parse;
    std::function<nlohmann::json(const void* object)> print;  // null: absent optional
    std::function<nlohmann::json(const internal::Constraints&)> json_schema;
    std::function<internal::Shape()> shape;
    std::function<absl::Status(const void* object)> check;  // may be null

    std::string Allowed() const;  // "an integer from 1", "a list; each item: …"
  };

  // Parses into `object`, adding every error. Unknown keys are errors with a suggestion.
  // A section without content is one with the defaults.
  void Parse(const Node& node, const std::string& path, void* object, Errors& errors) const;
  // Canonical: every field in its place, defaults filled in, absent optionals left out.
  nlohmann::json Print(const void* object) const;
  nlohmann::json Defaults() const;    // a fresh object, printed
  nlohmann::json JsonSchema() const;  // draft 2020-12
  // Parses into a fresh object and prints it: fills in the defaults.
  nlohmann::json Canonical(const Node& node, const std::string& path, Errors& errors) const;

  const std::vector<Field>& fields() const { return fields_; }
  // A Markdown table: name, type and range, default, meaning.
  std::string MarkdownTable() const;

 private:
  template <typename T>
  friend class Fields;
  template <typename T>
  friend const ObjectSchema& SchemaOf();

  std::vector<Field> fields_;
  std::function<std::shared_ptr<void>()> make_;
  std::function<void(void*)> expand_;
  std::function<absl::Status(const void*)> validate_;
};

template <typename T>
class Fields;

template <typename T>
concept Described = requires(Fields<T>& fields) {
  T::Describe(fields);
};

template <typename T>
const ObjectSchema& SchemaOf();

namespace internal {

// Declared before they are defined: lists of optionals and optionals of lists meet.
template <typename T>
void ParseValue(const Node& node, const std::string& path, const Constraints& c,
                std::vector<T>& out, Errors& errors);
template <typename T>
nlohmann::json PrintValue(const std::vector<T>& v);
template <typename T>
nlohmann::json JsonSchemaOf(const std::vector<T>*, const Constraints& c);
template <typename T>
Shape ShapeOf(const std::vector<T>*);

template <Described T>
void ParseValue(const Node& node, const std::string& path, const Constraints&, T& out,
                Errors& errors) {
  SchemaOf<T>().Parse(node, path, &out, errors);
}
template <typename T>
void ParseValue(const Node& node, const std::string& path, const Constraints& c, Switch<T>& out,
                Errors& errors) {
  if (node.kind == Node::Kind::kMapping) return ParseValue(node, path, c, out.options, errors);
  if (!node.AsBool()) return AddNotASwitch(node, path, errors);
  out.on = *node.AsBool();
}
template <typename T>
void ParseValue(const Node& node, const std::string& path, const Constraints& c,
                std::optional<T>& out, Errors& errors) {
  if (node.kind == Node::Kind::kNull) {
    out.reset();
    return;
  }
  ParseValue(node, path, c, out.emplace(), errors);
}
template <typename T>
void ParseValue(const Node& node, const std::string& path, const Constraints& c,
                std::vector<T>& out, Errors& errors) {
  if (node.kind != Node::Kind::kSequence) return AddNotAList(node, path, errors);
  if (c.min_items && node.items.size() < *c.min_items) AddTooFew(node, path, *c.min_items, errors);
  out.clear();
  for (size_t i = 0; i < node.items.size(); ++i) {
    T item{};
    ParseValue(node.items[i], absl::StrCat(path, "[", i, "]"), c, item, errors);
    out.push_back(std::move(item));
  }
}

template <Described T>
nlohmann::json PrintValue(const T& v) {
  return SchemaOf<T>().Print(&v);
}
template <typename T>
nlohmann::json PrintValue(const Switch<T>& v) {
  const ObjectSchema& schema = SchemaOf<T>();
  nlohmann::json options = schema.Print(&v.options);
  if (!v.on || options == schema.Defaults()) return v.on;
  return options;
}
template <typename T>
nlohmann::json PrintValue(const std::optional<T>& v) {
  return v ? PrintValue(*v) : nlohmann::json();
}
template <typename T>
nlohmann::json PrintValue(const std::vector<T>& v) {
  nlohmann::json list = nlohmann::json::array();
  for (const T& item : v) list.push_back(PrintValue(item));
  return list;
}

template <Described T>
nlohmann::json JsonSchemaOf(const T*, const Constraints&) {
  return SchemaOf<T>().JsonSchema();
}
template <typename T>
nlohmann::json JsonSchemaOf(const Switch<T>*, const Constraints&) {
  return {{"oneOf", {{{"type", "boolean"}}, SchemaOf<T>().JsonSchema()}}};
}
template <typename T>
nlohmann::json JsonSchemaOf(const std::optional<T>*, const Constraints& c) {
  return JsonSchemaOf(static_cast<const T*>(nullptr), c);
}
template <typename T>
nlohmann::json JsonSchemaOf(const std::vector<T>*, const Constraints& c) {
  nlohmann::json schema = {{"type", "array"},
                           {"items", JsonSchemaOf(static_cast<const T*>(nullptr), c)}};
  if (c.min_items) schema["minItems"] = *c.min_items;
  return schema;
}

template <Described T>
Shape ShapeOf(const T*) {
  return {"a mapping", &SchemaOf<T>()};
}
template <typename T>
Shape ShapeOf(const Switch<T>*) {
  return {"true, false or a mapping", &SchemaOf<T>()};
}
template <typename T>
Shape ShapeOf(const std::optional<T>*) {
  return ShapeOf(static_cast<const T*>(nullptr));
}
template <typename T>
Shape ShapeOf(const std::vector<T>*) {
  Shape shape = ShapeOf(static_cast<const T*>(nullptr));
  shape.list = true;
  return shape;
}

}  // namespace internal

// Collects a struct's fields; handed to T::Describe.
template <typename T>
class Fields {
 public:
  explicit Fields(ObjectSchema& schema) : schema_(schema) {}

  template <typename M>
  Fields& Add(absl::string_view name, M T::*member, absl::string_view doc) {
    ObjectSchema::Field field;
    field.name = std::string(name);
    field.doc = std::string(doc);
    field.parse = [member](const Node& node, const std::string& path,
                           const internal::Constraints& c, void* object, Errors& errors) {
      internal::ParseValue(node, path, c, static_cast<T*>(object)->*member, errors);
    };
    field.print = [member](const void* object) {
      return internal::PrintValue(static_cast<const T*>(object)->*member);
    };
    field.json_schema = [](const internal::Constraints& c) {
      return internal::JsonSchemaOf(static_cast<const M*>(nullptr), c);
    };
    field.shape = [] { return internal::ShapeOf(static_cast<const M*>(nullptr)); };
    schema_.fields_.push_back(std::move(field));
    return *this;
  }

  // Each of these speaks of the field added last. Bounds are in the unit of the file
  // (seconds for a Duration) and, for a vector, hold for every item.
  Fields& Required() { return Last().required = true, *this; }
  Fields& Min(double v) { return Bound().min = v, *this; }
  Fields& Max(double v) { return Bound().max = v, *this; }
  Fields& GreaterThan(double v) { return Bound().min = v, Bound().min_exclusive = true, *this; }
  Fields& LessThan(double v) { return Bound().max = v, Bound().max_exclusive = true, *this; }
  Fields& OneOf(std::vector<std::string> v) { return Bound().one_of = std::move(v), *this; }
  Fields& Id() { return Bound().id = true, *this; }  // a string for which IsValidId holds
  Fields& Alternatives(std::vector<Alternative> v) {
    return Bound().alternatives = std::move(v), *this;
  }
  // What no bound can say of this field. Runs when it is given.
  Fields& Check(absl::Status (*check)(const T&)) {
    Last().check = [check](const void* object) { return check(*static_cast<const T*>(object)); };
    return *this;
  }
  Fields& MinItems(size_t v) { return Bound().min_items = v, *this; }

 private:
  ObjectSchema::Field& Last() { return schema_.fields_.back(); }
  internal::Constraints& Bound() { return Last().constraints; }
  ObjectSchema& schema_;
};

// The schema of T, built on first use.
template <typename T>
const ObjectSchema& SchemaOf() {
  static const ObjectSchema* const schema = [] {
    auto* s = new ObjectSchema();
    Fields<T> fields(*s);
    T::Describe(fields);
    s->make_ = [] { return std::static_pointer_cast<void>(std::make_shared<T>()); };
    if constexpr (requires(T & t) { t.Expand(); }) {
      s->expand_ = [](void* object) { static_cast<T*>(object)->Expand(); };
    }
    if constexpr (requires(const T& t) {
                    { t.Validate() } -> std::same_as<absl::Status>;
                  }) {
      s->validate_ = [](const void* object) { return static_cast<const T*>(object)->Validate(); };
    }
    return s;
  }();
  return *schema;
}

// Parses `node` into a T, or InvalidArgument with every error, one a line.
template <typename T>
absl::StatusOr<T> Parse(const Node& node, const std::string& path = "") {
  T value;
  Errors errors;
  SchemaOf<T>().Parse(node, path, &value, errors);
  if (!errors.empty()) return errors.ToStatus();
  return value;
}

template <typename T>
nlohmann::json Print(const T& value) {
  return SchemaOf<T>().Print(&value);
}

}  // namespace tributary::config

#endif  // TRIBUTARY_COMMON_CONFIG_SCHEMA_H_
