// Registry: the explicit table of an extension point's implementations. No static
// registrars: linkers drop them from static libraries. Adding an implementation is one
// line in the table:
//
//   const Registry<Scheduler, const SchedulerDeps&>& SchedulerRegistry() {
//     using R = Registry<Scheduler, const SchedulerDeps&>;
//     static const R* const registry = new R("scheduler", {
//         R::Of<SyncRoundScheduler>("sync_round", "rounds with a cohort drawn at random"),
//     });
//     return *registry;
//   }
//
// An implementation has `using Options = …` (a described option struct) and
// `static absl::StatusOr<std::unique_ptr<Impl>> Create(const Options&, Deps…)`.
#ifndef TRIBUTARY_COMMON_REGISTRY_H_
#define TRIBUTARY_COMMON_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/config/schema.h"
#include "common/status_macros.h"

namespace tributary {

// Immutable after construction, thread-safe.
template <typename Interface, typename... Deps>
class Registry {
 public:
  struct Entry {
    std::string name;
    std::string doc;  // one line
    const config::ObjectSchema* schema;
    std::function<absl::StatusOr<std::unique_ptr<Interface>>(const nlohmann::json&, Deps...)>
        create;
  };

  template <typename Impl>
  static Entry Of(std::string name, std::string doc) {
    return Entry{name, std::move(doc), &config::SchemaOf<typename Impl::Options>(),
                 [name](const nlohmann::json& json,
                        Deps... deps) -> absl::StatusOr<std::unique_ptr<Interface>> {
                   TRIB_ASSIGN_OR_RETURN(auto options, config::Parse<typename Impl::Options>(
                                                           config::NodeFromJson(json), name));
                   TRIB_ASSIGN_OR_RETURN(std::unique_ptr<Interface> made,
                                         Impl::Create(options, deps...));
                   return made;
                 }};
  }

  Registry(std::string kind, std::vector<Entry> entries)
      : kind_(std::move(kind)), entries_(std::move(entries)) {}

  const std::vector<Entry>& entries() const { return entries_; }

  // For Fields::Alternatives.
  std::vector<config::Alternative> Alternatives() const {
    std::vector<config::Alternative> all;
    for (const Entry& e : entries_) all.push_back({e.name, e.doc, e.schema});
    return all;
  }

  // NotFound with the nearest name; InvalidArgument from the options.
  absl::StatusOr<std::unique_ptr<Interface>> Create(const config::Choice& choice,
                                                    Deps... deps) const {
    for (const Entry& e : entries_) {
      if (e.name == choice.name) return e.create(choice.options, deps...);
    }
    std::vector<std::string> names;
    for (const Entry& e : entries_) names.push_back(e.name);
    return absl::NotFoundError(absl::StrCat("no ", kind_, " is called '", choice.name,
                                            "'; allowed: one of ", absl::StrJoin(names, ", "),
                                            config::Suggest(choice.name, names)));
  }

 private:
  std::string kind_;
  std::vector<Entry> entries_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_REGISTRY_H_
