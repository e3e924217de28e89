#include "aggregators/lora/recompression.h"

#include <utility>
#include <vector>

#include "aggregators/lora/product_svd.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<Recompression> Recompress(const LowRankModel& sum, const RankPolicy& policy) {
  std::vector<ProductSvd> decomposed;
  std::vector<Spectrum> spectra;
  for (const auto& [name, module] : sum) {
    TRIB_ASSIGN_OR_RETURN(ProductSvd svd, SvdOfProduct(module));
    decomposed.push_back(std::move(svd));
  }
  spectra.reserve(decomposed.size());
  for (const ProductSvd& svd : decomposed) {
    spectra.push_back({.rows = svd.rows, .columns = svd.columns, .values = svd.values});
  }
  const std::vector<int64_t> ranks = policy.Ranks(spectra);
  Recompression result;
  size_t i = 0;
  for (const auto& [name, module] : sum) {
    const ProductSvd& svd = decomposed[i];
    const int64_t rank = ranks[i++];
    RecompressedModule& out = result[name];
    out.kept = svd.Part(0, rank);
    out.tail = svd.Part(rank, svd.rank() - rank);
    for (int64_t k = 0; k < svd.rank(); ++k) {
      const double value = svd.values[static_cast<size_t>(k)];
      (k < rank ? out.kept_energy : out.tail_energy) += value * value;
    }
  }
  return result;
}

absl::StatusOr<LowRank> RecompressExactly(const LowRank& x) {
  TRIB_ASSIGN_OR_RETURN(const ProductSvd svd, SvdOfProduct(x));
  return svd.Part(0, svd.rank());
}

}  // namespace tributary
