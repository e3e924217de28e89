#include "client_sdk/data/sentence_piece_segments.h"

#include <algorithm>
#include <limits>
#include <map>
#include <queue>
#include <utility>

#include "client_sdk/data/utf8.h"

namespace tributary {
namespace {

using Kind = SentencePieceModel::Kind;

size_t StepSize(absl::string_view text) { return std::max<size_t>(1, CharacterSize(text)); }

// Symbols of the text that are still apart: a list over them, from left to right.
class Merger {
 public:
  Merger(const SentencePieceVocabulary& vocabulary, absl::string_view text);

  void Run();
  std::vector<Segment> Segments() const;

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();
  struct Symbol {
    absl::string_view text;  // empty: merged into the one before
    size_t previous = kNone, next = kNone;
    bool whole = false;  // a user-defined piece, which stays as it is
  };
  struct Pair {
    float score = 0;
    size_t left = 0, right = 0;
    size_t size = 0;  // of the union; another one now: the pair is gone
    bool operator<(const Pair& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  absl::string_view Union(size_t left, size_t right) const {
    return {symbols_[left].text.data(), symbols_[left].text.size() + symbols_[right].text.size()};
  }
  void Consider(size_t left, size_t right);
  void Append(absl::string_view text, std::vector<Segment>& segments) const;

  const SentencePieceVocabulary& vocabulary_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> pairs_;
  // Of what became an unused piece: what it was made of, by its text; the last time counts.
  std::map<absl::string_view, size_t> split_at_;
};

Merger::Merger(const SentencePieceVocabulary& vocabulary, absl::string_view text)
    : vocabulary_(vocabulary) {
  while (!text.empty()) {
    const size_t whole = vocabulary.user_defined.LongestPrefix(text);
    const size_t size = whole > 0 ? whole : StepSize(text);
    const size_t index = symbols_.size();
    if (index > 0) symbols_.back().next = index;
    symbols_.push_back({.text = text.substr(0, size),
                        .previous = index > 0 ? index - 1 : kNone,
                        .whole = whole > 0});
    text.remove_prefix(size);
  }
  for (size_t i = 1; i < symbols_.size(); ++i) Consider(i - 1, i);
}

void Merger::Consider(size_t left, size_t right) {
  if (left == kNone || right == kNone || symbols_[left].whole || symbols_[right].whole) return;
  const absl::string_view both = Union(left, right);
  const auto token = vocabulary_.text.Find(both);
  if (!token) return;
  const SentencePieceModel::Piece& piece = vocabulary_.piece(*token);
  pairs_.push({piece.score, left, right, both.size()});
  if (piece.kind == Kind::kUnused) split_at_[both] = symbols_[left].text.size();
}

void Merger::Run() {
  while (!pairs_.empty()) {
    const Pair top = pairs_.top();
    pairs_.pop();
    Symbol& left = symbols_[top.left];
    Symbol& right = symbols_[top.right];
    if (left.text.empty() || right.text.empty()) continue;
    if (left.text.size() + right.text.size() != top.size) continue;
    left.text = Union(top.left, top.right);
    right.text = {};
    left.next = right.next;
    if (left.next != kNone) symbols_[left.next].previous = top.left;
    Consider(left.previous, top.left);
    Consider(top.left, left.next);
  }
}

void Merger::Append(absl::string_view text, std::vector<Segment>& segments) const {
  std::vector<absl::string_view> left = {text};  // the first is the last
  while (!left.empty()) {
    const absl::string_view part = left.back();
    left.pop_back();
    const auto token = vocabulary_.text.Find(part);
    const bool unused = token && vocabulary_.piece(*token).kind == Kind::kUnused;
    const auto split = unused ? split_at_.find(part) : split_at_.end();
    if (split == split_at_.end()) {
      segments.push_back({part, token.value_or(vocabulary_.unknown)});
      continue;
    }
    left.push_back(part.substr(split->second));
    left.push_back(part.substr(0, split->second));
  }
}

std::vector<Segment> Merger::Segments() const {
  std::vector<Segment> segments;
  for (size_t i = symbols_.empty() ? kNone : 0; i != kNone; i = symbols_[i].next) {
    Append(symbols_[i].text, segments);
  }
  return segments;
}

}  // namespace

std::vector<Segment> BestUnigrams(const SentencePieceVocabulary& vocabulary,
                                  absl::string_view text) {
  constexpr float kUnknownPenalty = 10;
  constexpr size_t kUnreached = std::numeric_limits<size_t>::max();
  struct Best {  // the best path that ends here, and its last segment
    float score = 0;
    size_t begin = kUnreached;
    int32_t token = 0;
  };
  std::vector<Best> best(text.size() + 1);
  size_t step = 0;
  for (size_t begin = 0; begin < text.size(); begin += step) {
    step = StepSize(text.substr(begin));
    const float so_far = best[begin].score;
    const auto offer = [&](size_t size, int32_t token, double score) {
      Best& there = best[begin + size];
      const double sum = score + so_far;
      if (there.begin == kUnreached || sum > there.score) {
        there = {static_cast<float>(sum), begin, token};
      }
    };
    bool one_character = false;
    vocabulary.text.ForEachPrefix(text.substr(begin), [&](size_t size, int32_t token) {
      const SentencePieceModel::Piece& piece = vocabulary.piece(token);
      if (piece.kind == Kind::kUnused) return;
      one_character |= size == step;
      // Always the best: a user-defined piece scores as if each byte were the likeliest piece.
      const bool by_user = piece.kind == Kind::kUserDefined;
      offer(size, token,
            by_user ? static_cast<float>(size) * vocabulary.highest_score - 0.1
                    : double{piece.score});
    });
    if (!one_character) offer(step, vocabulary.unknown, vocabulary.lowest_score - kUnknownPenalty);
  }
  std::vector<Segment> segments;
  for (size_t end = text.size(); end > 0; end = best[end].begin) {
    segments.push_back({text.substr(best[end].begin, end - best[end].begin), best[end].token});
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

std::vector<Segment> MergedPairs(const SentencePieceVocabulary& vocabulary,
                                 absl::string_view text) {
  Merger merger(vocabulary, text);
  merger.Run();
  return merger.Segments();
}

}  // namespace tributary
