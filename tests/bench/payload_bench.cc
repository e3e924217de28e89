// The passes that an update makes through memory: encoded on the client, decoded and checked, and
// added to the sum on the server; and the passes of what makes a version of the one before it,
// encoded on the server and applied on the client. Each beside the machine's own limit in the same
// run, a triad (a[i] = b[i] + s·c[i]) over as many values. Values are standard normal; what a codec
// makes of them (share of the bytes, ‖decoded − x‖/‖x‖) stands beside its encoding. Prints a table,
// or with --json one object.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregators/parallel.h"
#include "common/check.h"
#include "common/cli/format.h"
#include "common/clock.h"
#include "common/codec/codec.h"
#include "common/codec/version_delta.h"
#include "common/params/param_vector.h"
#include "nlohmann/json.hpp"
#include "server/live/pool_parallel.h"
#include "tests/testing/params.h"

namespace tributary {
namespace {

struct Row {
  std::string what;
  int threads = 1;
  double bytes_per_value = 0;  // of memory read and written; encode and decode: of float32
  // One pass; returns how long what counts of it took.
  std::function<absl::Duration()> pass;
  absl::Duration best = absl::InfiniteDuration();
  // Of an encoding: the payload, of float32, and its relative error.
  std::optional<double> size, error;

  double Gigabytes(int64_t n) const {
    return bytes_per_value * static_cast<double>(n) / absl::ToDoubleNanoseconds(best);
  }
};

absl::Duration Timed(const std::function<void()>& body) {
  static const RealClock clock;
  const absl::Time start = clock.Now();
  body();
  return clock.Now() - start;
}

// The accumulator, and what a triad reads.
struct Arrays {
  explicit Arrays(int64_t n)
      : a(test::FlatLayout(n)), b(test::RandomParams(a.layout(), 1)), c(b.Clone()) {}
  ParamVector a, b, c;
};

void Triad(Arrays& arrays, CoordinateRange range) {
  float* const a = arrays.a.values().data();
  const float* const b = arrays.b.values().data();
  const float* const c = arrays.c.values().data();
  for (int64_t i = range.begin; i < range.end; ++i) a[i] = b[i] + 0.5F * c[i];
}

struct NamedCodec {
  std::string name;
  std::vector<config::Choice> stages;
  double chosen = 1;  // share of the values that travel
};

std::vector<NamedCodec> Codecs() {
  std::vector<NamedCodec> codecs;
  for (const std::string name : {"raw", "fp16", "bf16", "int8", "int4", "sign"}) {
    codecs.push_back({name, {{.name = name}}});
  }
  codecs.push_back({"int8 nearest", {{.name = "int8", .options = {{"rounding", "nearest"}}}}});
  for (const double fraction : {0.03, 0.01}) {
    for (const std::string selector : {"topk", "randk"}) {
      const config::Choice chosen{.name = selector, .options = {{"fraction", fraction}}};
      const std::string name = absl::StrCat(selector, " ", 100 * fraction, " %");
      codecs.push_back({name, {chosen}, fraction});
      for (const std::string format : {"int8", "int4", "sign"}) {
        if (selector == "randk" && format == "sign") continue;  // scaled up, one size fits none
        codecs.push_back({absl::StrCat(name, " + ", format), {chosen, {.name = format}}, fraction});
      }
    }
  }
  codecs.push_back({"zstd", {{.name = "zstd"}}});
  codecs.push_back({"int8 + zstd", {{.name = "int8"}, {.name = "zstd"}}});
  return codecs;
}

// Every row over `n` values. The codecs one by one, since their payloads take memory; a triad runs
// beside each.
class Measurement {
 public:
  Measurement(int64_t n, std::vector<int> threads, int rounds)
      : n_(n), threads_(std::move(threads)), rounds_(rounds), arrays_(n) {
    for (const int count : threads_) {
      pools_.push_back(std::make_unique<WorkerPool>(std::max(1, count - 1)));
      parallels_.push_back(std::make_unique<PoolParallel>(pools_.back().get(), count - 1));
      triads_.push_back(
          {.what = "triad", .threads = count, .bytes_per_value = 12, .pass = TriadPass(count)});
    }
  }

  std::vector<Row> Run() {
    std::vector<Row> all;
    for (const NamedCodec& codec : Codecs()) {
      for (Row& row : RunCodec(codec)) all.push_back(std::move(row));
    }
    for (const std::string codec : {"", "int8"}) {
      for (Row& row : RunDelta(codec)) all.push_back(std::move(row));
    }
    all.insert(all.begin(), triads_.begin(), triads_.end());
    return all;
  }

 private:
  Parallel* ParallelOf(int threads) const {
    const auto at = std::find(threads_.begin(), threads_.end(), threads) - threads_.begin();
    return threads == 1 ? nullptr : parallels_[static_cast<size_t>(at)].get();
  }

  std::function<absl::Duration()> TriadPass(int threads) {
    return [this, parallel = ParallelOf(threads)] {
      return Timed(
          [&] { ForRanges(parallel, n_, [&](CoordinateRange range) { Triad(arrays_, range); }); });
    };
  }

  std::vector<Row> RunCodec(const NamedCodec& named) {
    const auto& [name, stages, chosen] = named;
    const CodecContext context{.layout = arrays_.a.layout(), .rng = Rng(1)};
    const auto codec = CreateCodec(stages).value();
    const absl::Span<const float> values = arrays_.b.trainable();
    const std::string bytes = codec->Encode(values, context);
    const auto payload = codec->Decode(bytes, context).value();
    const double size = static_cast<double>(bytes.size()) / static_cast<double>(n_);
    std::vector<Row> rows;
    for (const int threads : threads_) {
      rows.push_back({absl::StrCat("add ", name), threads,
                      // Of the sum, no more is touched than there are values for.
                      size + 8 * chosen,
                      [&, threads] { return Timed([&] { Add(*payload, ParallelOf(threads)); }); }});
    }
    rows.push_back({.what = absl::StrCat("encode ", name),
                    .bytes_per_value = 4,
                    .pass = [&] { return Timed([&] { codec->Encode(values, context); }); },
                    .size = size / sizeof(float),
                    .error = Error(*payload, values)});
    rows.push_back({absl::StrCat("decode ", name), 1, 4, [&] {
                      std::string copy = bytes;
                      return Timed([&] {
                        const auto decoded = codec->Decode(std::move(copy), context).value();
                        TRIB_CHECK(decoded->CheckFinite().ok());
                      });
                    }});
    Repeat(rows);
    return rows;
  }

  static double Error(const DeltaPayload& payload, absl::Span<const float> values) {
    std::vector<float> difference(values.size());
    payload.AddTo(-1.0F, {0, std::ssize(difference)}, absl::MakeSpan(difference));
    AddScaled(1.0F, values, absl::MakeSpan(difference));
    return std::sqrt(SquaredNorm(difference, nullptr) / SquaredNorm(values, nullptr));
  }

  // Between two versions that are a thousandth apart; `codec` empty: exact.
  std::vector<Row> RunDelta(const std::string& codec) {
    DownlinkSpec spec;
    if (!codec.empty()) spec.codec = {{.name = codec}};
    const auto delta = ModelDifference::Create(spec).value();
    ParamVector after = test::RandomParams(arrays_.a.layout(), 2, 1e-3F);
    AddScaled(1.0F, arrays_.b.values(), after.values());
    const std::string bytes = delta->Encode(1, arrays_.b, after);
    const std::string name = codec.empty() ? "exact" : codec;
    std::vector<Row> rows = {
        {absl::StrCat("encode version, ", name), 1, 4,
         [&] { return Timed([&] { delta->Encode(1, arrays_.b, after); }); }},
        {absl::StrCat("apply version, ", name), 1, 4, [&] {
           ParamVector model = arrays_.b.Clone();
           return Timed([&] { TRIB_CHECK(delta->Apply(1, bytes, model).ok()); });
         }}};
    Repeat(rows);
    return rows;
  }

  void Repeat(std::vector<Row>& rows) {
    for (int round = 0; round < rounds_; ++round) {
      for (Row& triad : triads_) triad.best = std::min(triad.best, triad.pass());
      for (Row& row : rows) row.best = std::min(row.best, row.pass());
    }
    for (Row& row : rows) row.pass = nullptr;
  }

  void Add(const DeltaPayload& payload, Parallel* parallel) {
    const absl::Span<float> sum = arrays_.a.trainable();
    ForRanges(parallel, n_, [&](CoordinateRange range) {
      payload.AddTo(
          0.5F, range,
          sum.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
    });
  }

  const int64_t n_;
  const std::vector<int> threads_;
  const int rounds_;
  Arrays arrays_;
  std::vector<std::unique_ptr<WorkerPool>> pools_;
  std::vector<std::unique_ptr<PoolParallel>> parallels_;
  std::vector<Row> triads_;
};

int Main(int argc, char** argv) {
  CLI::App app{"memory bandwidth of encoding, decoding and adding updates"};
  std::vector<int64_t> sizes = {1'000'000, 10'000'000, 100'000'000};
  std::vector<int> threads = {1, 2};
  int rounds = 5;
  bool json = false;
  app.add_option("--values", sizes, "parameters of the model")
      ->check(CLI::Range(1'000, 1'000'000'000))
      ->delimiter(',');
  app.add_option("--threads", threads, "that add; the first is 1")
      ->check(CLI::Range(1, 256))
      ->delimiter(',');
  app.add_option("--rounds", rounds, "of which the fastest counts; ten times as many below 10M")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {
      {"values", "what", "threads", "ms", "Gvalues/s", "GB/s", "of triad", "of float32", "error"}};
  for (const int64_t n : sizes) {
    const std::vector<Row> all =
        Measurement(n, threads, n < 10'000'000 ? 10 * rounds : rounds).Run();
    for (const Row& row : all) {
      const Row& triad = *std::find_if(all.begin(), all.end(), [&](const Row& other) {
        return other.what == "triad" && other.threads == row.threads;
      });
      const double share = row.Gigabytes(n) / triad.Gigabytes(n);
      const double speed = static_cast<double>(n) / absl::ToDoubleNanoseconds(row.best);
      rows.push_back({{"values", n},
                      {"what", row.what},
                      {"threads", row.threads},
                      {"seconds", absl::ToDoubleSeconds(row.best)},
                      {"values_per_second", 1e9 * speed},
                      {"bytes_per_second", 1e9 * row.Gigabytes(n)},
                      {"of_triad", share}});
      if (row.size) rows.back()["of_float32"] = *row.size;
      if (row.error) rows.back()["relative_error"] = *row.error;
      table.push_back({absl::StrCat(n), row.what, absl::StrCat(row.threads),
                       absl::StrFormat("%.2f", absl::ToDoubleMilliseconds(row.best)),
                       absl::StrFormat("%.2f", speed), absl::StrFormat("%.1f", row.Gigabytes(n)),
                       absl::StrFormat("%.2f", share),
                       row.size ? absl::StrFormat("%.2f %%", 100 * *row.size) : "",
                       row.error ? absl::StrFormat("%.2g", *row.error) : ""});
    }
  }
  if (json) {
    std::cout << nlohmann::json{{"rows", rows}}.dump(2) << "\n";
  } else {
    std::cout << cli::FormatTable(table);
  }
  return 0;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) { return tributary::Main(argc, argv); }
