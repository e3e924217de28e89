// ClientSet: a sorted set of clients from which some can be drawn at random, at a cost that
// hardly grows with their number: with a hundred thousand clients it is memory that is slow, so
// neighbours lie side by side.
//
// What is drawn depends on the members and on the Rng, not on the order of insertion.
#ifndef TRIBUTARY_SCHEDULERS_CLIENT_SET_H_
#define TRIBUTARY_SCHEDULERS_CLIENT_SET_H_

#include <cstdint>
#include <vector>

#include "common/ids.h"
#include "common/rng.h"

namespace tributary {

// Thread-compatible.
class ClientSet {
 public:
  void Insert(const ClientId& client);
  void Erase(const ClientId& client);
  bool Contains(const ClientId& client) const;
  int64_t size() const { return size_; }

  std::vector<ClientId> Members() const;  // in order of id

  // `count` different members in random order, all of them when there are fewer.
  std::vector<ClientId> Draw(int64_t count, Rng& rng) const;

 private:
  using Block = std::vector<ClientId>;  // sorted; empty only if it is the only one

  size_t BlockOf(const ClientId& client) const;  // where it is or belongs

  // Members of blocks_[i] are before begins_[i], those of blocks_[i + 1] are not. To find a block,
  // no other is looked at.
  std::vector<Block> blocks_ = std::vector<Block>(1);
  std::vector<ClientId> begins_;
  int64_t size_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_CLIENT_SET_H_
