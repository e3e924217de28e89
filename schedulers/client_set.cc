#include "schedulers/client_set.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace tributary {
namespace {

constexpr size_t kMostInBlock = 64;

}  // namespace

size_t ClientSet::BlockOf(const ClientId& client) const {
  const auto after =
      std::upper_bound(blocks_.begin(), blocks_.end(), client,
                       [](const ClientId& id, const Block& block) { return id < block.front(); });
  return after == blocks_.begin() ? 0 : static_cast<size_t>(after - blocks_.begin()) - 1;
}

void ClientSet::Insert(const ClientId& client) {
  if (blocks_.empty()) {
    blocks_.emplace_back(1, client);
    ++size_;
    return;
  }
  const size_t index = BlockOf(client);
  Block& block = blocks_[index];
  const auto place = std::ranges::lower_bound(block, client);
  if (place != block.end() && *place == client) return;
  block.insert(place, client);
  ++size_;
  if (block.size() <= kMostInBlock) return;
  const auto middle = block.begin() + kMostInBlock / 2;
  Block upper(std::make_move_iterator(middle), std::make_move_iterator(block.end()));
  block.erase(middle, block.end());
  blocks_.insert(blocks_.begin() + static_cast<ptrdiff_t>(index) + 1, std::move(upper));
}

void ClientSet::Erase(const ClientId& client) {
  if (blocks_.empty()) return;
  const size_t index = BlockOf(client);
  Block& block = blocks_[index];
  const auto place = std::ranges::lower_bound(block, client);
  if (place == block.end() || *place != client) return;
  block.erase(place);
  --size_;
  if (block.empty()) blocks_.erase(blocks_.begin() + static_cast<ptrdiff_t>(index));
}

bool ClientSet::Contains(const ClientId& client) const {
  return !blocks_.empty() && std::ranges::binary_search(blocks_[BlockOf(client)], client);
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
