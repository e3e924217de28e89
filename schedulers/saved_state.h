// How schedulers save their state: a plain struct whose members are listed once,
//
//   struct State {
//     Rng rng{0};
//     std::map<ClientId, absl::Time> since;
//     int64_t rounds = 0;
//     NLOHMANN_DEFINE_TYPE_INTRUSIVE(State, rng, since, rounds)
//   };
//   nlohmann::json Save() const override { return state_; }
//   absl::Status Load(const nlohmann::json& json) override {
//     return LoadState(json, "deadline", [](const State& s) { return s.rounds >= 0; }, state_);
//   }
//
// Times are whole nanoseconds since 1970; the scheduler must not keep finer ones. Hash containers
// are saved as their sorted kin are, so that equal states are equal text.
#ifndef TRIBUTARY_SCHEDULERS_SAVED_STATE_H_
#define TRIBUTARY_SCHEDULERS_SAVED_STATE_H_

#include <exception>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"
#include "schedulers/client_set.h"

namespace tributary {

template <typename C>
concept HashMap = requires {
  typename C::hasher;
  typename C::mapped_type;
};

}  // namespace tributary

namespace nlohmann {

template <typename Tag>
struct adl_serializer<tributary::StringId<Tag>> {
  static void to_json(json& j, const tributary::StringId<Tag>& id) { j = id.value(); }
  static void from_json(const json& j, tributary::StringId<Tag>& id) {
    id = tributary::StringId<Tag>(j.get<std::string>());
  }
};

template <tributary::HashMap Map>
struct adl_serializer<Map> {
  using Sorted = std::map<typename Map::key_type, typename Map::mapped_type>;
  static void to_json(json& j, const Map& map) { j = Sorted(map.begin(), map.end()); }
  static void from_json(const json& j, Map& map) {
    const auto sorted = j.get<Sorted>();
    map = Map(sorted.begin(), sorted.end());
  }
};

template <typename T>
struct adl_serializer<absl::flat_hash_set<T>> {
  static void to_json(json& j, const absl::flat_hash_set<T>& set) {
    j = std::set<T>(set.begin(), set.end());
  }
  static void from_json(const json& j, absl::flat_hash_set<T>& set) {
    const auto sorted = j.get<std::set<T>>();
    set = {sorted.begin(), sorted.end()};
  }
};

template <>
struct adl_serializer<absl::Time> {
  static void to_json(json& j, absl::Time t) { j = absl::ToUnixNanos(t); }
  static void from_json(const json& j, absl::Time& t) { t = absl::FromUnixNanos(j.get<int64_t>()); }
};

template <>
struct adl_serializer<tributary::Rng> {
  static void to_json(json& j, const tributary::Rng& rng) { j = rng.state(); }
  static void from_json(const json& j, tributary::Rng& rng) {
    rng = tributary::Rng::FromState(j.get<tributary::Rng::State>());
  }
};

template <>
struct adl_serializer<tributary::ClientSet> {
  static void to_json(json& j, const tributary::ClientSet& set) { j = set.Members(); }
  static void from_json(const json& j, tributary::ClientSet& set) {
    set = {};
    for (const json& client : j) set.Insert(client.get<tributary::ClientId>());
  }
};

}  // namespace nlohmann

namespace tributary {

// Replaces `state` by what Save wrote. DataLoss, and no change, for anything else, or if
// `is_sound` says that its parts contradict one another.
template <typename State, typename IsSound>
absl::Status LoadState(const nlohmann::json& json, absl::string_view scheduler, IsSound is_sound,
                       State& state) {
  try {
    State loaded = json.get<State>();
    if (is_sound(loaded) && nlohmann::json(loaded) == json) {
      state = std::move(loaded);
      return absl::OkStatus();
    }
  } catch (const std::exception&) {
  }
  return absl::DataLossError(absl::StrCat("not a saved state of the ", scheduler, " scheduler"));
}

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_SAVED_STATE_H_
