// ClientSet: a sorted set of clients from which some can be drawn at random, in O(log n)
// each, so that an event costs the same with a hundred clients and with a hundred thousand.
//
// What is drawn depends on the members and on the Rng, not on the order of insertion.
#ifndef TRIBUTARY_SCHEDULERS_CLIENT_SET_H_
#define TRIBUTARY_SCHEDULERS_CLIENT_SET_H_

#include <algorithm>
#include <cstdint>
#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>
#include <functional>
#include <vector>

#include "common/ids.h"
#include "common/rng.h"

namespace tributary {

// Thread-compatible.
class ClientSet {
 public:
  void Insert(const ClientId& client) { tree_.insert(client); }
  void Erase(const ClientId& client) { tree_.erase(client); }
  bool Contains(const ClientId& client) const { return tree_.find(client) != tree_.end(); }
  int64_t size() const { return static_cast<int64_t>(tree_.size()); }

  auto begin() const { return tree_.begin(); }  // in order of id
  auto end() const { return tree_.end(); }

  // `count` different members in random order, all of them when there are fewer.
  std::vector<ClientId> Draw(int64_t count, Rng& rng) const {
    std::vector<ClientId> drawn;
    for (const int64_t i : rng.SampleWithoutReplacement(size(), std::min(count, size()))) {
      drawn.push_back(*tree_.find_by_order(static_cast<size_t>(i)));
    }
    return drawn;
  }

 private:
  // A red-black tree whose nodes know the size below them (libstdc++'s own extension).
  __gnu_pbds::tree<ClientId, __gnu_pbds::null_type, std::less<ClientId>, __gnu_pbds::rb_tree_tag,
                   __gnu_pbds::tree_order_statistics_node_update>
      tree_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_CLIENT_SET_H_
