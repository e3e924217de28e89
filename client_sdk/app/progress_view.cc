#include "client_sdk/app/progress_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace tributary {
namespace {

using Kind = ClientEvent::Kind;

constexpr int64_t kBarWidth = 20;
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);

// Part of work under way, that happens too often for a log.
bool IsStep(Kind kind) {
  return kind == Kind::kDownloading || kind == Kind::kTraining || kind == Kind::kUploading ||
         kind == Kind::kEvaluating || kind == Kind::kWaiting;
}

std::string Bar(int64_t done, int64_t total) {
  const int64_t filled = std::clamp<int64_t>(done * kBarWidth / total, 0, kBarWidth);
  return absl::StrCat("[", std::string(static_cast<size_t>(filled), '#'),
                      std::string(static_cast<size_t>(kBarWidth - filled), '-'), "]  ");
}

}  // namespace

std::string ProgressLine(const ClientEvent& event) {
  if (event.kind == Kind::kWaiting) return "waiting for work";
  std::string line = absl::StrCat(event.work, " ", event.job_name, " v", event.version, "  ");
  if (event.total > 0) absl::StrAppend(&line, Bar(event.done, event.total));
  absl::StrAppend(&line, ClientEventName(event.kind));
  if (event.kind == Kind::kEvaluating) return line;
  absl::StrAppend(&line, " ", event.done);
  if (event.total > 0) absl::StrAppend(&line, "/", event.total);
  return absl::StrCat(line, event.kind == Kind::kTraining ? " steps" : " bytes");
}

ProgressView::ProgressView(std::ostream* out, bool live, Clock* clock)
    : out_(out), live_(live), clock_(clock) {}

ProgressView::~ProgressView() { Redraw(""); }

void ProgressView::Show(const ClientEvent& event) {
  if (event.kind == Kind::kAccepted) ++(event.work == "evaluate" ? evaluations_ : updates_);
  if (!IsStep(event.kind)) {
    Redraw("");
    Log(event);
    return;
  }
  const bool last = event.total > 0 && event.done == event.total;
  if (!live_ || (!last && clock_->Now() - last_drawn_ < kRedrawInterval)) return;
  last_drawn_ = clock_->Now();
  Redraw(ProgressLine(event));
}

void ProgressView::Redraw(const std::string& line) {
  if (!live_ || (line.empty() && !line_shown_)) return;
  *out_ << "\r\033[K" << line << std::flush;
  line_shown_ = !line.empty();
}

void ProgressView::Log(const ClientEvent& event) const {
  const absl::string_view name = ClientEventName(event.kind);
  switch (event.kind) {
    case Kind::kEnrolled:
      log::Info(name, {{"server", event.message}});
      return;
    case Kind::kDisconnected:
      log::Warning(name, {{"error", event.message}});
      return;
    case Kind::kRefused:
    case Kind::kFailed:
      log::Warning(name, {{"job", event.job.value()},
                          {"work", event.work},
                          {"work_order", event.work_order},
                          {"error", event.message}});
      return;
    default:
      log::Info(name, {{"job", event.job.value()},
                       {"work", event.work},
                       {"work_order", event.work_order},
                       {"version", event.version}});
  }
}

}  // namespace tributary
