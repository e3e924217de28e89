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
// Times are whole nanoseconds since 1970; the scheduler must not keep finer ones.
#ifndef TRIBUTARY_SCHEDULERS_SAVED_STATE_H_
#define TRIBUTARY_SCHEDULERS_SAVED_STATE_H_

#include <exception>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/rng.h"
#include "nlohmann/json.hpp"
#include "schedulers/client_set.h"

namespace nlohmann {

template <typename Tag>
struct adl_serializer<tributary::StringId<Tag>> {
  static void to_json(json& j, const tributary::StringId<Tag>& id) { j = id.value(); }
  static void from_json(const json& j, tributary::StringId<Tag>& id) {
    id = tributary::StringId<Tag>(j.get<std::string>());
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
  static void to_json(json& j, const tributary::ClientSet& set) {
    j = json::array();
    for (const tributary::ClientId& client : set) j.push_back(client);
  }
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
