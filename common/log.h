// Structured logging over spdlog: a message for people, fields for machines.
//
//   log::Info("update accepted", {{"job", job.value()}, {"client", client.value()}, {"bytes", n}});
//
// prints, as text,   2026-01-02T03:04:05.678Z info  update accepted job=mnist client=c7 bytes=123
// and as JSON lines  {"ts":"…","level":"info","msg":"update accepted","job":"mnist",…}
//
// Thread-safe. Writes to standard error. Never logs payloads, keys or certificates.
#ifndef TRIBUTARY_COMMON_LOG_H_
#define TRIBUTARY_COMMON_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tributary::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };
enum class Format { kText, kJson };

struct Field {
  template <typename T>
  Field(absl::string_view name, const T& v) : key(name), value(Convert(v)) {}

  std::string key;
  std::variant<std::string, int64_t, double, bool> value;

 private:
  template <typename T>
  requires std::is_same_v<T, bool>  // or a string literal would become `true`
  static bool Convert(T v) { return v; }
  template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) static int64_t Convert(T v) {
    return static_cast<int64_t>(v);
  }
  static double Convert(double v) { return v; }
  static std::string Convert(const absl::Status& v) { return v.ToString(); }
  static std::string Convert(absl::Duration v) { return absl::FormatDuration(v); }
  static std::string Convert(absl::string_view v) { return std::string(v); }
};
using Fields = std::initializer_list<Field>;

// Call before the first line is logged, or any time after; defaults: info, text.
void Configure(Level level, Format format);
// "debug", "info", "warning", "error", "off"; "text", "json". InvalidArgument else.
absl::Status ConfigureFromNames(absl::string_view level, absl::string_view format);

void Debug(absl::string_view message, Fields fields = {});
void Info(absl::string_view message, Fields fields = {});
void Warning(absl::string_view message, Fields fields = {});
void Error(absl::string_view message, Fields fields = {});

// The line as it would be printed, without the time: for tests.
std::string FormatLine(Level level, Format format, absl::string_view message, Fields fields);

}  // namespace tributary::log

#endif  // TRIBUTARY_COMMON_LOG_H_
