#include "common/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

namespace tributary::log {
namespace {

std::atomic<Format> format_in_use{Format::kText};

constexpr absl::string_view kLevelNames[] = {"debug", "info", "warning", "error", "off"};

absl::string_view NameOf(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      break;
  }
  return spdlog::level::off;
}

// The time is spdlog's own: it belongs to the line and not to any decision. One logger for
// each format, so that a line is never printed half in the one and half in the other.
std::unique_ptr<spdlog::logger> MakeLogger(const std::string& pattern) {
  auto logger = std::make_unique<spdlog::logger>("tributary",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::debug);
  logger->set_pattern(pattern, spdlog::pattern_time_type::utc);
  return logger;
}

spdlog::logger& LoggerOf(Format format) {
  static spdlog::logger* const text = MakeLogger("%Y-%m-%dT%H:%M:%S.%eZ %v").release();
  static spdlog::logger* const json = MakeLogger("{\"ts\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v").release();
  return format == Format::kText ? *text : *json;
}

bool NeedsQuotes(const std::string& text) {
  return text.empty() || std::any_of(text.begin(), text.end(), [](unsigned char c) {
           return c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f;
         });
}

std::string ToText(const std::string& v) {
  return NeedsQuotes(v) ? absl::StrCat("\"", absl::Utf8SafeCEscape(v), "\"") : v;
}
std::string ToText(int64_t v) { return absl::StrCat(v); }
std::string ToText(double v) { return absl::StrFormat("%.9g", v); }
std::string ToText(bool v) { return v ? "true" : "false"; }

nlohmann::json ToJson(double v) {
  return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json(ToText(v));
}
template <typename T>
nlohmann::json ToJson(const T& v) {
  return v;
}

// JSON text that cannot fail: bytes that are not UTF-8 become U+FFFD.
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string TextLine(Level level, absl::string_view message, Fields fields) {
  // A message stays on its line, whatever it quotes.
  std::string line = absl::StrFormat("%-7s %s", NameOf(level),
                                     absl::StrReplaceAll(message, {{"\n", "\\n"}, {"\r", "\\r"}}));
  for (const Field& field : fields) {
    absl::StrAppend(&line, " ", field.key, "=",
                    std::visit([](const auto& v) { return ToText(v); }, field.value));
  }
  return line;
}

// Without the opening brace: the time comes first.
std::string JsonMembers(Level level, absl::string_view message, Fields fields) {
  std::string line =
      absl::StrCat("\"level\":\"", NameOf(level), "\",\"msg\":", Dump(std::string(message)));
  for (const Field& field : fields) {
    absl::StrAppend(&line, ",", Dump(field.key), ":",
                    Dump(std::visit([](const auto& v) { return ToJson(v); }, field.value)));
  }
  return line + "}";
}

void Write(Level level, absl::string_view message, Fields fields) {
  const Format format = format_in_use.load();
  spdlog::logger& logger = LoggerOf(format);
  if (!logger.should_log(ToSpdlog(level))) return;
  const std::string line = format == Format::kText ? TextLine(level, message, fields)
                                                   : JsonMembers(level, message, fields);
  logger.log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void Configure(Level level, Format format) {
  LoggerOf(Format::kText).set_level(ToSpdlog(level));
  LoggerOf(Format::kJson).set_level(ToSpdlog(level));
  format_in_use.store(format);
}

absl::Status ConfigureFromNames(absl::string_view level, absl::string_view format) {
  const auto* found = std::find(std::begin(kLevelNames), std::end(kLevelNames), level);
  if (found == std::end(kLevelNames)) {
    return absl::InvalidArgumentError(
        absl::StrCat("log level: found '", level, "', allowed: debug, info, warning, error, off"));
  }
  if (format != "text" && format != "json") {
    return absl::InvalidArgumentError(
        absl::StrCat("log format: found '", format, "', allowed: text, json"));
  }
  Configure(static_cast<Level>(found - std::begin(kLevelNames)),
            format == "text" ? Format::kText : Format::kJson);
  return absl::OkStatus();
}

void Debug(absl::string_view message, Fields fields) { Write(Level::kDebug, message, fields); }
void Info(absl::string_view message, Fields fields) { Write(Level::kInfo, message, fields); }
void Warning(absl::string_view message, Fields fields) { Write(Level::kWarning, message, fields); }
void Error(absl::string_view message, Fields fields) { Write(Level::kError, message, fields); }

std::string FormatLine(Level level, Format format, absl::string_view message, Fields fields) {
  return format == Format::kText ? TextLine(level, message, fields)
                                 : "{" + JsonMembers(level, message, fields);
}

}  // namespace tributary::log
