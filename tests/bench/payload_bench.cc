// The passes that an update makes through the server's memory, beside the machine's own
// limit: a triad (a[i] = b[i] + s·c[i]) over the same number of values, in the same run.
//
//   payload_bench --benchmark_filter=10000000
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "common/codec/codec.h"
#include "common/params/param_vector.h"
#include "tests/testing/params.h"

namespace tributary {
namespace {

void Triad(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(0));
  std::vector<float> a(n), b(n, 1.0F), c(n, 2.0F);
  for (auto _ : state) {
    for (size_t i = 0; i < n; ++i) a[i] = b[i] + 0.5F * c[i];
    benchmark::DoNotOptimize(a.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 12);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

std::unique_ptr<const DeltaPayload> Payload(const std::string& codec, int64_t n) {
  const CodecContext context{.layout = test::FlatLayout(n)};
  const auto made = CreateCodec({{.name = codec}});
  const ParamVector delta = test::RandomParams(context.layout, 1);
  auto payload = (*made)->Decode((*made)->Encode(delta.trainable(), context), context);
  return *std::move(payload);
}

void AddTo(benchmark::State& state, const std::string& codec) {
  const int64_t n = state.range(0);
  const auto payload = Payload(codec, n);
  std::vector<float> sum(static_cast<size_t>(n));
  for (auto _ : state) {
    payload->AddTo(0.5F, {0, n}, absl::MakeSpan(sum));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * n);
}

void Finite(benchmark::State& state, const std::string& codec) {
  const auto payload = Payload(codec, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(payload->CheckFinite().ok());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

constexpr int64_t kSmall = 1'000'000, kLarge = 10'000'000;
BENCHMARK(Triad)->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(AddTo, raw, std::string("raw"))->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(AddTo, fp16, std::string("fp16"))->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(Finite, raw, std::string("raw"))->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(Finite, fp16, std::string("fp16"))->Arg(kSmall)->Arg(kLarge);

}  // namespace
}  // namespace tributary

BENCHMARK_MAIN();
