// Rng: the only source of randomness. Seeded, split by name, same numbers on every
// machine: the generator and every distribution are our own, and the distributions
// use no libm function (glibc's log and exp differ in the last bit between processors).
//
//   Rng rng(seed);
//   Rng selection = rng.Split("selection");          // independent of how far rng has run
//   Rng client = rng.Split("client").Split(17);
//
// Tests pin the first numbers of every distribution: changing one changes every run.
#ifndef TRIBUTARY_COMMON_RNG_H_
#define TRIBUTARY_COMMON_RNG_H_

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tributary {

// xoshiro256** (Blackman & Vigna 2018), seeded through SplitMix64. Thread-compatible.
class Rng {
 public:
  explicit Rng(uint64_t seed);

  // A stream that depends only on this one's seed and on the name or index, not on
  // how many numbers were drawn: adding a draw somewhere changes nothing elsewhere.
  Rng Split(absl::string_view name) const;
  Rng Split(uint64_t index) const;

  uint64_t seed() const { return seed_; }

  uint64_t Next();                          // 64 random bits
  double Uniform();                         // [0, 1), 53 bits
  double Uniform(double low, double high);  // [low, high)
  int64_t UniformInt(int64_t n);            // [0, n), unbiased; n >= 1
  bool Bernoulli(double probability);
  double Normal(double mean = 0.0, double stddev = 1.0);  // Marsaglia's polar method
  double Exponential(double mean);                        // by inversion
  double Gamma(double shape, double scale = 1.0);         // Marsaglia & Tsang 2000; shape > 0
  std::vector<double> Dirichlet(absl::Span<const double> alpha);    // sums to 1
  std::vector<double> Dirichlet(double alpha, int64_t dimensions);  // symmetric

  // `count` different indices out of [0, n), in random order. 0 <= count <= n.
  std::vector<int64_t> SampleWithoutReplacement(int64_t n, int64_t count);

  template <typename T>
  void Shuffle(absl::Span<T> items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[static_cast<size_t>(UniformInt(static_cast<int64_t>(i)))]);
    }
  }

  // The exact state, to save and to go on from.
  using State = std::array<uint64_t, 5>;  // seed, then the four words
  State state() const;
  static Rng FromState(const State& state);

 private:
  Rng() = default;
  uint64_t seed_ = 0;
  std::array<uint64_t, 4> words_{};
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_RNG_H_
