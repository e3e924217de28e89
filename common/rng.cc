#include "common/rng.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "common/check.h"
#include "common/portable_math.h"

namespace tributary {
namespace {

// SplitMix64 (Steele, Lea & Flood 2014): Advance is its step, Mix its output function.
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t SplitMix(uint64_t& state) { return Mix(state += kGolden); }

uint64_t Fnv1a(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// A child's seed: the parent's, the kind of the key and the key, each mixed in turn, so
// that neither Split("7") and Split(7) nor Split(a).Split(b) and Split(b).Split(a) meet.
enum class KeyKind : uint64_t { kName = 1, kIndex = 2 };

uint64_t ChildSeed(uint64_t seed, KeyKind kind, uint64_t key) {
  const uint64_t parent = Mix(seed + static_cast<uint64_t>(kind) * kGolden);
  return Mix(parent ^ Mix(key + kGolden));
}

// The logarithm of a Gamma(shape, 1) draw. For a tiny shape the draw itself underflows to 0,
// its logarithm does not.
double LogGamma(double shape, Rng& rng) {
  TRIB_CHECK(shape > 0.0 && shape < std::numeric_limits<double>::infinity());
  double boost = 0.0;
  if (shape < 1.0) {  // Gamma(a) = Gamma(a + 1) · U^(1/a)
    boost = portable::Log(1.0 - rng.Uniform()) / shape;
    shape += 1.0;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = rng.Normal();
    const double t = 1.0 + c * x;
    if (t <= 0.0) continue;
    const double v = t * t * t;
    const double log_v = portable::Log(v);
    const double log_u = portable::Log(1.0 - rng.Uniform());
    if (log_u < 0.5 * x * x + d - d * v + d * log_v) return portable::Log(d) + log_v + boost;
  }
}

}  // namespace

Rng::Rng(uint64_t seed) : seed_(seed) {
  uint64_t state = seed;
  for (uint64_t& word : words_) word = SplitMix(state);
}

Rng Rng::Split(absl::string_view name) const {
  return Rng(ChildSeed(seed_, KeyKind::kName, Fnv1a(name)));
}

Rng Rng::Split(uint64_t index) const { return Rng(ChildSeed(seed_, KeyKind::kIndex, index)); }

uint64_t Rng::Next() {
  auto& s = words_;
  const uint64_t result = std::rotl(s[1] * 5, 7) * 9;
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return result;
}

double Rng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

double Rng::Uniform(double low, double high) {
  const double x = low + (high - low) * Uniform();
  return x < high ? x : low;  // rounding may reach `high`
}

int64_t Rng::UniformInt(int64_t n) {
  TRIB_CHECK(n >= 1);
  const auto range = static_cast<uint64_t>(n);
  const uint64_t excess = -range % range;  // 2^64 mod n: that many values are rejected
  uint64_t x = Next();
  while (x < excess) x = Next();
  return static_cast<int64_t>(x % range);
}

bool Rng::Bernoulli(double probability) { return Uniform() < probability; }

double Rng::Normal(double mean, double stddev) {
  // The pair's second value is dropped: a stream's state stays its four words.
  for (;;) {
    const double x = 2.0 * Uniform() - 1.0;
    const double y = 2.0 * Uniform() - 1.0;
    const double s = x * x + y * y;
    if (s >= 1.0 || s == 0.0) continue;
    return mean + stddev * x * std::sqrt(-2.0 * portable::Log(s) / s);
  }
}

double Rng::Exponential(double mean) { return -mean * portable::Log(1.0 - Uniform()); }

double Rng::Gamma(double shape, double scale) {
  return scale * portable::Exp(LogGamma(shape, *this));
}

std::vector<double> Rng::Dirichlet(absl::Span<const double> alpha) {
  std::vector<double> x;
  x.reserve(alpha.size());
  for (const double a : alpha) x.push_back(LogGamma(a, *this));
  if (x.empty()) return x;
  // Relative to the largest, which becomes 1: the sum is at least 1 and never 0/0.
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0.0;
  for (double& v : x) sum += v = portable::Exp(v - largest);
  for (double& v : x) v /= sum;
  return x;
}

std::vector<double> Rng::Dirichlet(double alpha, int64_t dimensions) {
  TRIB_CHECK(dimensions >= 0);
  return Dirichlet(std::vector<double>(static_cast<size_t>(dimensions), alpha));
}

std::vector<int64_t> Rng::SampleWithoutReplacement(int64_t n, int64_t count) {
  TRIB_CHECK(count >= 0 && count <= n);
  // The first `count` steps of a shuffle of 0…n−1, of which only moved places are kept.
  std::unordered_map<int64_t, int64_t> moved;
  const auto at = [&moved](int64_t place) {
    const auto found = moved.find(place);
    return found == moved.end() ? place : found->second;
  };
  std::vector<int64_t> sample;
  sample.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j = i + UniformInt(n - i);
    sample.push_back(at(j));
    moved[j] = at(i);
  }
  return sample;
}

Rng::State Rng::state() const { return {seed_, words_[0], words_[1], words_[2], words_[3]}; }

Rng Rng::FromState(const State& state) {
  Rng rng;
  rng.seed_ = state[0];
  std::copy(state.begin() + 1, state.end(), rng.words_.begin());
  return rng;
}

}  // namespace tributary
