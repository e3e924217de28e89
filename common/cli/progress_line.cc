#include "common/cli/progress_line.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/cli/format.h"

namespace tributary::cli {
namespace {

constexpr int kBarWidth = 24;

}  // namespace

ProgressLine::ProgressLine(std::ostream& out, bool terminal, const Clock& clock)
    : out_(out),
      terminal_(terminal),
      clock_(clock),
      interval_(terminal ? absl::Milliseconds(100) : absl::Seconds(2)) {}

std::string ProgressLine::Text(const JobView& job, std::optional<absl::Duration> eta) {
  const int64_t version = std::max<int64_t>(job.version, 0);
  std::string text;
  if (job.stop_versions) {
    const int64_t done = std::min(version, *job.stop_versions);
    const int filled = static_cast<int>(kBarWidth * done / *job.stop_versions);
    text = absl::StrFormat("[%s%s]  %d/%d", std::string(filled, '#'),
                           std::string(kBarWidth - filled, '-'), version, *job.stop_versions);
  } else {
    text = absl::StrFormat("version %d", version);
  }
  if (job.accuracy) absl::StrAppend(&text, "  accuracy ", FormatPercent(*job.accuracy));
  if (job.loss) absl::StrAppendFormat(&text, "  loss %.4f", *job.loss);
  absl::StrAppend(&text, "  updates ", job.updates);
  if (job.lost > 0) absl::StrAppend(&text, "  lost ", job.lost);
  if (job.state != "running") {
    absl::StrAppend(&text, "  ", job.state);
  } else if (job.phase != "training") {
    absl::StrAppend(&text, "  ", job.phase);
  }
  if (!job.note.empty()) absl::StrAppend(&text, "  ", job.note);
  if (eta) absl::StrAppend(&text, "  ETA ", FormatSeconds(*eta));
  return text;
}

std::optional<absl::Duration> ProgressLine::TimeLeft(const JobView& job, absl::Time now) {
  if (job.state != "running" || job.version < 0 || !job.stop_versions) return std::nullopt;
  if (!first_version_) {
    first_version_ = job.version;
    first_at_ = now;
  }
  const int64_t made = job.version - *first_version_;
  const int64_t left = *job.stop_versions - job.version;
  if (made <= 0 || left <= 0) return std::nullopt;
  return (now - first_at_) / made * left;
}

void ProgressLine::Show(const JobView& job) {
  const absl::Time now = clock_.Now();
  pending_ = Text(job, TimeLeft(job, now));
  if (now - last_at_ < interval_) return;
  last_at_ = now;
  Print(pending_);
}

void ProgressLine::Print(const std::string& text) {
  if (text.empty() || text == printed_) return;
  out_ << (terminal_ ? "\r\x1b[K" : "") << text << (terminal_ ? "" : "\n") << std::flush;
  printed_ = text;
}

void ProgressLine::Finish() {
  Print(pending_);
  if (terminal_ && !printed_.empty()) out_ << "\n" << std::flush;
  pending_.clear();
  printed_.clear();
}

}  // namespace tributary::cli
