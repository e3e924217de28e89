#include "schedulers/client_set.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace tributary {
namespace {

constexpr size_t kMostInBlock = 32;

}  // namespace

size_t ClientSet::BlockOf(const ClientId& client) const {
  const auto after = std::ranges::upper_bound(begins_, client);
  return static_cast<size_t>(after - begins_.begin());
}

void ClientSet::Insert(const ClientId& client) {
  const size_t index = BlockOf(client);
  Block& block = blocks_[index];
  const auto place = std::ranges::lower_bound(block, client);
  if (place != block.end() && *place == client) return;
  ++size_;
  block.insert(place, client);
  if (block.size() < kMostInBlock) return;
  const auto middle = block.begin() + kMostInBlock / 2;
  Block upper(std::make_move_iterator(middle), std::make_move_iterator(block.end()));
  block.erase(middle, block.end());
  const auto at = static_cast<ptrdiff_t>(index);
  begins_.insert(begins_.begin() + at, upper.front());
  blocks_.insert(blocks_.begin() + at + 1, std::move(upper));
}

void ClientSet::Erase(const ClientId& client) {
  const size_t index = BlockOf(client);
  Block& block = blocks_[index];
  const auto place = std::ranges::lower_bound(block, client);
  if (place == block.end() || *place != client) return;
  --size_;
  block.erase(place);
  if (!block.empty() || begins_.empty()) return;
  const auto at = static_cast<ptrdiff_t>(index);
  blocks_.erase(blocks_.begin() + at);
  begins_.erase(begins_.begin() + std::max<ptrdiff_t>(0, at - 1));
}

bool ClientSet::Contains(const ClientId& client) const {
  return std::ranges::binary_search(blocks_[BlockOf(client)], client);
}

std::vector<ClientId> ClientSet::Members() const {
  std::vector<ClientId> members;
  members.reserve(static_cast<size_t>(size_));
  for (const Block& block : blocks_) members.insert(members.end(), block.begin(), block.end());
  return members;
}

std::vector<ClientId> ClientSet::Draw(int64_t count, Rng& rng) const {
  const std::vector<int64_t> ranks = rng.SampleWithoutReplacement(size_, std::min(count, size_));
  // One pass over the blocks finds all of them.
  std::vector<size_t> by_rank(ranks.size());
  std::iota(by_rank.begin(), by_rank.end(), size_t{0});
  std::ranges::sort(by_rank, {}, [&](size_t i) { return ranks[i]; });
  std::vector<ClientId> drawn(ranks.size());
  auto block = blocks_.begin();
  int64_t before = 0;  // members of the blocks before
  for (const size_t i : by_rank) {
    while (ranks[i] - before >= std::ssize(*block)) before += std::ssize(*block++);
    drawn[i] = (*block)[static_cast<size_t>(ranks[i] - before)];
  }
  return drawn;
}

}  // namespace tributary
