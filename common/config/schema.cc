#include "common/config/schema.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/ids.h"

namespace tributary::config {
namespace {

// Shortest text that reads back the same; whole numbers without a fraction.
std::string NumberText(double v) {
  return std::string(absl::StripSuffix(nlohmann::json(v).dump(), ".0"));
}

void Wrong(const Node& node, const std::string& path, absl::string_view what,
           absl::string_view allowed, Errors& errors) {
  errors.Add(node.position, path,
             absl::StrCat(what, ", found ", node.Shown(), "; allowed: ", allowed));
}

bool InRange(double v, const internal::Constraints& c) {
  if (c.min && (c.min_exclusive ? v <= *c.min : v < *c.min)) return false;
  if (c.max && (c.max_exclusive ? v >= *c.max : v > *c.max)) return false;
  return true;
}

internal::Constraints DurationConstraints(internal::Constraints c) {
  if (!c.min) c.min = 0;
  return c;
}

nlohmann::json BoundedSchema(const char* type, const internal::Constraints& c) {
  nlohmann::json schema = {{"type", type}};
  const auto bound = [](double v) {
    return v == std::floor(v) && std::fabs(v) < 1e15 ? nlohmann::json(static_cast<int64_t>(v))
                                                     : nlohmann::json(v);
  };
  if (c.min) schema[c.min_exclusive ? "exclusiveMinimum" : "minimum"] = bound(*c.min);
  if (c.max) schema[c.max_exclusive ? "exclusiveMaximum" : "maximum"] = bound(*c.max);
  return schema;
}

std::string Join(absl::string_view path, absl::string_view name) {
  return absl::StrCat(path, path.empty() ? "" : ".", name);
}

std::string StatusText(const absl::Status& status) { return std::string(status.message()); }

std::string MarkdownCell(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}});
}

std::string MarkdownDefault(const ObjectSchema::Field& field, const nlohmann::json& defaults) {
  if (field.required) return "required";
  if (!defaults.contains(field.name)) return "–";
  const nlohmann::json& value = defaults[field.name];
  if (value.is_object() && field.shape().object != nullptr) return "its defaults";
  const bool is_choice = value.is_object() && !field.constraints.alternatives.empty();
  return absl::StrCat("`", is_choice ? value.begin().key() : value.dump(), "`");
}

}  // namespace

namespace internal {

std::vector<std::string> Constraints::Names() const {
  if (alternatives.empty()) return one_of;
  std::vector<std::string> names;
  for (const Alternative& alternative : alternatives) names.push_back(alternative.name);
  return names;
}

std::string Constraints::Allowed(absl::string_view noun) const {
  const std::vector<std::string> names = Names();
  if (!names.empty()) return absl::StrCat("one of ", absl::StrJoin(names, ", "));
  if (id) return "1 to 128 letters, digits, '.', '_' or '-', the first not '.'";
  std::string text(noun);
  if (min) absl::StrAppend(&text, min_exclusive ? " above " : " from ", NumberText(*min));
  if (min && max && !min_exclusive && !max_exclusive) {
    return absl::StrCat(text, " to ", NumberText(*max));
  }
  if (max) {
    absl::StrAppend(&text, min ? "," : "", max_exclusive ? " below " : " at most ",
                    NumberText(*max));
  }
  return text;
}

void ParseValue(const Node& node, const std::string& path, const Constraints&, bool& out,
                Errors& errors) {
  if (const auto value = node.AsBool()) {
    out = *value;
  } else {
    Wrong(node, path, "not a boolean", "true or false", errors);
  }
}

void ParseValue(const Node& node, const std::string& path, const Constraints& c, int64_t& out,
                Errors& errors) {
  const auto value = node.AsInt();
  if (!value) {
    const bool huge = std::fabs(node.AsDouble().value_or(0)) >= 0x1p63;
    return Wrong(node, path, huge ? "out of range" : "not an integer", c.Allowed("an integer"),
                 errors);
  }
  if (!InRange(static_cast<double>(*value), c)) {
    return Wrong(node, path, "out of range", c.Allowed("an integer"), errors);
  }
  out = *value;
}

void ParseValue(const Node& node, const std::string& path, const Constraints& c, double& out,
                Errors& errors) {
  const auto value = node.AsDouble();
  if (!value) return Wrong(node, path, "not a finite number", c.Allowed("a number"), errors);
  if (!InRange(*value, c)) return Wrong(node, path, "out of range", c.Allowed("a number"), errors);
  out = *value;
}

void ParseValue(const Node& node, const std::string& path, const Constraints& c, std::string& out,
                Errors& errors) {
  if (node.kind != Node::Kind::kScalar) {
    return Wrong(node, path, "not a string", c.Allowed("a string"), errors);
  }
  if (c.one_of.empty() && (node.AsBool() || node.AsDouble())) {
    return Wrong(node, path, "not a string", "a string (put it in quotes)", errors);
  }
  if (!c.one_of.empty() &&
      std::find(c.one_of.begin(), c.one_of.end(), node.scalar) == c.one_of.end()) {
    return Wrong(node, path, "unknown name",
                 absl::StrCat(c.Allowed(""), Suggest(node.scalar, c.one_of)), errors);
  }
  if (c.id && !IsValidId(node.scalar)) {
    return Wrong(node, path, "not a valid name", c.Allowed(""), errors);
  }
  out = node.scalar;
}

void ParseValue(const Node& node, const std::string& path, const Constraints& c,
                absl::Duration& out, Errors& errors) {
  const Constraints bounds = DurationConstraints(c);
  const std::string allowed = bounds.Allowed("a number of seconds");
  const auto value = node.AsDouble();
  if (!value) return Wrong(node, path, "not a finite number", allowed, errors);
  const absl::Duration duration = absl::Seconds(*value);
  if (!InRange(*value, bounds) || duration == absl::InfiniteDuration() ||
      duration == -absl::InfiniteDuration()) {
    return Wrong(node, path, "out of range", allowed, errors);
  }
  out = duration;
}

void ParseValue(const Node& node, const std::string& path, const Constraints& c, Choice& out,
                Errors& errors) {
  Node chosen;  // the name, as if it were written alone
  Node options;
  if (node.kind == Node::Kind::kMapping && node.members.size() == 1) {
    chosen.kind = Node::Kind::kScalar;
    chosen.scalar = node.members[0].key;
    chosen.position = node.members[0].position;
    options = node.members[0].value;
  } else if (node.kind == Node::Kind::kMapping && node.members.size() > 1) {
    const std::string found =
        absl::StrJoin(node.members, " and ",
                      [](std::string* to, const Node::Member& member) { to->append(member.key); });
    return errors.Add(node.position, path,
                      absl::StrCat("must be exactly ", c.Allowed(""), "; found ", found));
  } else if (node.kind == Node::Kind::kScalar) {
    chosen = node;
    options.position = node.position;
  } else {
    const bool empty = node.kind == Node::Kind::kMapping;
    return errors.Add(node.position, path,
                      absl::StrCat("must be exactly ", c.Allowed(""), "; found ",
                                   empty ? "an empty mapping" : node.Shown()));
  }
  for (const Alternative& alternative : c.alternatives) {
    if (alternative.name != chosen.scalar) continue;
    out.name = chosen.scalar;
    out.position = chosen.position;
    out.options = alternative.schema->Canonical(options, Join(path, out.name), errors);
    return;
  }
  Wrong(chosen, path, "unknown name",
        absl::StrCat(c.Allowed(""), Suggest(chosen.scalar, c.Names())), errors);
}

void ParseValue(const Node& node, const std::string& path, const Constraints&, Node& out,
                Errors& errors) {
  if (node.kind != Node::Kind::kMapping) {
    return Wrong(node, path, "not a mapping", "a mapping", errors);
  }
  out = node;
}

nlohmann::json PrintValue(bool v) { return v; }
nlohmann::json PrintValue(int64_t v) { return v; }
nlohmann::json PrintValue(double v) { return v; }
nlohmann::json PrintValue(const std::string& v) { return v; }
nlohmann::json PrintValue(absl::Duration v) { return absl::ToDoubleSeconds(v); }
nlohmann::json PrintValue(const Choice& v) {
  if (v.name.empty()) return nullptr;
  return {{v.name, v.options}};
}

nlohmann::json PrintValue(const Node& v) { return ToJson(v); }

nlohmann::json JsonSchemaOf(const bool*, const Constraints&) { return {{"type", "boolean"}}; }
nlohmann::json JsonSchemaOf(const int64_t*, const Constraints& c) {
  return BoundedSchema("integer", c);
}
nlohmann::json JsonSchemaOf(const double*, const Constraints& c) {
  return BoundedSchema("number", c);
}
nlohmann::json JsonSchemaOf(const std::string*, const Constraints& c) {
  nlohmann::json schema = {{"type", "string"}};
  if (!c.one_of.empty()) schema["enum"] = c.one_of;
  if (c.id) schema["pattern"] = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$";
  return schema;
}
nlohmann::json JsonSchemaOf(const absl::Duration*, const Constraints& c) {
  return BoundedSchema("number", DurationConstraints(c));
}
nlohmann::json JsonSchemaOf(const Choice*, const Constraints& c) {
  nlohmann::json all = nlohmann::json::array();
  nlohmann::json bare = nlohmann::json::array();
  for (const Alternative& a : c.alternatives) {
    const nlohmann::json options = a.schema->JsonSchema();
    if (!options.contains("required")) bare.push_back(a.name);
    all.push_back({{"type", "object"},
                   {"description", a.doc},
                   {"properties", {{a.name, options}}},
                   {"required", {a.name}},
                   {"additionalProperties", false}});
  }
  if (!bare.empty()) all.push_back({{"enum", bare}, {"description", "with its defaults"}});
  return {{"oneOf", all}};
}

nlohmann::json JsonSchemaOf(const Node*, const Constraints&) { return {{"type", "object"}}; }

void AddNotASwitch(const Node& node, const std::string& path, Errors& errors) {
  Wrong(node, path, "neither a boolean nor a mapping", "true, false or a mapping", errors);
}

void AddNotAList(const Node& node, const std::string& path, Errors& errors) {
  Wrong(node, path, "not a list", "a list", errors);
}

void AddTooFew(const Node& node, const std::string& path, size_t least, Errors& errors) {
  errors.Add(
      node.position, path,
      absl::StrCat("too few items, found ", node.items.size(), "; allowed: at least ", least));
}

}  // namespace internal

std::string ObjectSchema::Field::Allowed() const {
  const internal::Shape type = shape();
  const std::string item = constraints.Allowed(type.noun);
  if (!type.list) return item;
  const std::string least =
      constraints.min_items ? absl::StrCat(" of at least ", *constraints.min_items) : "";
  return absl::StrCat("a list", least, "; each item: ", item);
}

void ObjectSchema::Parse(const Node& node, const std::string& path, void* object,
                         Errors& errors) const {
  std::vector<std::string> known;
  for (const Field& field : fields_) known.push_back(field.name);
  if (node.kind != Node::Kind::kMapping && node.kind != Node::Kind::kNull) {
    return Wrong(node, path, "not a mapping",
                 absl::StrCat("a mapping with the keys ", absl::StrJoin(known, ", ")), errors);
  }
  const size_t errors_before = errors.size();
  for (const Node::Member& member : node.members) {
    const auto field = std::find_if(fields_.begin(), fields_.end(),
                                    [&](const Field& f) { return f.name == member.key; });
    if (field != fields_.end()) {
      field->parse(member.value, Join(path, member.key), field->constraints, object, errors);
      continue;
    }
    const std::string suggestion = Suggest(member.key, known);
    const std::string keys =
        known.empty() ? "no keys here" : absl::StrCat("the keys ", absl::StrJoin(known, ", "));
    errors.Add(member.position, Join(path, member.key),
               absl::StrCat("unknown key",
                            suggestion.empty() ? absl::StrCat("; allowed: ", keys) : suggestion));
  }
  for (const Field& field : fields_) {
    if (!field.required || node.Find(field.name) != nullptr) continue;
    errors.Add(node.position, Join(path, field.name),
               absl::StrCat("required but missing; allowed: ", field.Allowed()));
  }
  if (errors.size() > errors_before) return;
  for (const Field& field : fields_) {
    const Node* const value = node.Find(field.name);
    if (!field.check || value == nullptr) continue;
    const absl::Status status = field.check(object);
    if (!status.ok()) errors.Add(value->position, Join(path, field.name), StatusText(status));
  }
  if (errors.size() > errors_before) return;
  if (expand_) expand_(object);
  if (!validate_) return;
  const absl::Status status = validate_(object);
  if (!status.ok()) errors.Add(node.position, path, StatusText(status));
}

nlohmann::json ObjectSchema::Print(const void* object) const {
  nlohmann::json printed = nlohmann::json::object();
  for (const Field& field : fields_) {
    nlohmann::json value = field.print(object);
    if (!value.is_null()) printed[field.name] = std::move(value);
  }
  return printed;
}

nlohmann::json ObjectSchema::Defaults() const { return Print(make_().get()); }

nlohmann::json ObjectSchema::JsonSchema() const {
  nlohmann::json properties = nlohmann::json::object();
  nlohmann::json required = nlohmann::json::array();
  const nlohmann::json defaults = Defaults();
  for (const Field& field : fields_) {
    nlohmann::json schema = field.json_schema(field.constraints);
    schema["description"] = field.doc;
    if (field.required) {
      required.push_back(field.name);
    } else if (defaults.contains(field.name)) {
      schema["default"] = defaults[field.name];
    }
    properties[field.name] = std::move(schema);
  }
  nlohmann::json schema = {
      {"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = required;
  return schema;
}

nlohmann::json ObjectSchema::Canonical(const Node& node, const std::string& path,
                                       Errors& errors) const {
  const std::shared_ptr<void> object = make_();
  Parse(node, path, object.get(), errors);
  return Print(object.get());
}

std::string ObjectSchema::MarkdownTable() const {
  if (fields_.empty()) return "No options.\n";
  std::string table = "| field | allowed | default | meaning |\n|---|---|---|---|\n";
  const nlohmann::json defaults = Defaults();
  for (const Field& field : fields_) {
    absl::StrAppend(&table, "| `", field.name, "` | ", MarkdownCell(field.Allowed()), " | ",
                    MarkdownCell(MarkdownDefault(field, defaults)), " | ", MarkdownCell(field.doc),
                    " |\n");
  }
  return table;
}

}  // namespace tributary::config
