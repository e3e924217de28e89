#include "schedulers/compass_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

// What a preset sets where the job file does not.
struct Preset {
  int64_t min_steps;
  double mixing_rate;
  bool by_examples;
  bool auto_bounds;
  bool frequency;
  bool first_group;
  bool fast_idles;
};
constexpr Preset kFaithful = {20, 0.9, false, false, false, false, false};
constexpr Preset kAdaptive = {20, 1.0, true, true, true, true, true};

constexpr double kParticipationCap = 2.0;

int64_t Millionths(double x) { return std::llround(x * 1e6); }

const Preset& PresetOf(const CompassOptions& options) {
  return options.preset == "adaptive" ? kAdaptive : kFaithful;
}

absl::Status NotAtMost(absl::string_view name, int64_t value, int64_t max_steps) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; allowed are 1 to max_local_steps, ", max_steps));
}

}  // namespace

void CompassOptions::Describe(config::Fields<CompassOptions>& fields) {
  using O = CompassOptions;
  fields
      .Add("preset", &O::preset,
           "faithful: as published; adaptive: with the extensions that help on every fleet")
      .OneOf({"faithful", "adaptive"});
  fields
      .Add("min_local_steps", &O::min_local_steps,
           "fewest steps of a work order; absent: 20, or max_local_steps if that is less")
      .Min(1);
  fields.Add("max_local_steps", &O::max_local_steps, "most steps of a work order").Min(1);
  fields
      .Add("initial_local_steps", &O::initial_local_steps,
           "steps of a client's first order, which measures its speed; absent: the fewest")
      .Min(1);
  fields
      .Add("join_limit", &O::join_limit,
           "most steps with which a client may join a group; absent: max_local_steps")
      .Min(1);
  fields
      .Add("latest_time_factor", &O::latest_time_factor,
           "a group's deadline, as a multiple of the time that its creator should take")
      .Min(1)
      .Max(100);
  fields
      .Add("speed_momentum", &O::speed_momentum,
           "weight of the newest observation in a client's speed estimate")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("mixing_rate", &O::mixing_rate,
           "factor on every update; absent: 0.9, in the adaptive preset 1")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("staleness", &O::staleness,
           "factor on an update that is versions behind; absent: polynomial")
      .Alternatives(StalenessRegistry().Alternatives());
  fields
      .Add("weights", &O::weights,
           "clients count alike (uniform), or by their number of examples; absent: by preset")
      .OneOf({"uniform", "examples"});
  fields
      .Add("expected_clients", &O::expected_clients,
           "an update counts one share of the clients present, or of this many if there are fewer")
      .Min(1);
  fields.Add("normalize_steps", &O::normalize_steps,
             "divide each update by its steps and multiply by their mean, as FedNova does");
  fields
      .Add("time_model", &O::time_model,
           "a client's time: in proportion to the steps (scalar), or with a fixed part (affine)")
      .OneOf({"scalar", "affine"});
  fields
      .Add("admission_margin", &O::admission_margin,
           "join a group only if the predicted time, plus this many of its standard deviations, "
           "ends before the deadline")
      .Min(0)
      .Max(10);
  fields
      .Add("bounds", &O::bounds,
           "min_local_steps as given (fixed), or as low as the measured speed ratio asks (auto); "
           "absent: by preset")
      .OneOf({"fixed", "auto"});
  fields
      .Add("lowest_local_steps", &O::lowest_local_steps,
           "with automatic bounds: below this the minimum does not go")
      .Min(1);
  fields
      .Add("participation", &O::participation,
           "all clients count alike (uniform), or those that report more often count less "
           "(frequency); absent: by preset")
      .OneOf({"uniform", "frequency"});
  fields
      .Add("participation_cap", &O::participation_cap,
           "with frequency: most that a rare client counts; absent: 2")
      .Min(1);
  fields
      .Add("first_round", &O::first_round,
           "first updates are applied one by one (single), or collected (group); absent: by preset")
      .OneOf({"single", "group"});
  fields
      .Add("fast_join", &O::fast_join,
           "a client too fast for every group creates its own (create), or joins and waits (idle); "
           "absent: by preset")
      .OneOf({"create", "idle"});
}

absl::Status CompassOptions::Validate() const {
  for (const auto& [name, value] : {std::pair("min_local_steps", &min_local_steps),
                                    std::pair("initial_local_steps", &initial_local_steps)}) {
    if (*value && **value > max_local_steps) return NotAtMost(name, **value, max_local_steps);
  }
  if (const ResolvedCompassOptions r = Resolve(*this); r.lowest_steps > r.min_steps) {
    return absl::InvalidArgumentError(absl::StrCat("lowest_local_steps is ", r.lowest_steps,
                                                   "; allowed are 1 to min_local_steps, ",
                                                   r.min_steps));
  }
  if (join_limit && *join_limit < max_local_steps) {
    return absl::InvalidArgumentError(absl::StrCat("join_limit is ", *join_limit,
                                                   "; allowed are max_local_steps, ",
                                                   max_local_steps, ", and more"));
  }
  if (participation_cap && Resolve(*this).participation_cap == std::nullopt) {
    return absl::InvalidArgumentError(
        "participation_cap is set, but participation is uniform; allowed with frequency only");
  }
  return absl::OkStatus();
}

ResolvedCompassOptions Resolve(const CompassOptions& o) {
  const Preset& preset = PresetOf(o);
  ResolvedCompassOptions r;
  r.max_steps = o.max_local_steps;
  r.min_steps = o.min_local_steps.value_or(std::min(preset.min_steps, o.max_local_steps));
  r.join_limit = o.join_limit.value_or(o.max_local_steps);
  r.lateness_ppm = Millionths(o.latest_time_factor);
  r.momentum_ppm = Millionths(o.speed_momentum);
  r.mixing_rate = o.mixing_rate.value_or(preset.mixing_rate);
  r.staleness = o.staleness.value_or(PolynomialStaleness());
  r.by_examples = o.weights ? *o.weights == "examples" : preset.by_examples;
  r.expected_clients = o.expected_clients;
  r.normalize_steps = o.normalize_steps;
  r.affine = o.time_model == "affine";
  r.admission_margin = o.admission_margin;
  r.lowest_steps = o.lowest_local_steps;
  r.auto_bounds = o.bounds ? *o.bounds == "auto" : preset.auto_bounds;
  if (o.participation ? *o.participation == "frequency" : preset.frequency) {
    r.participation_cap = o.participation_cap.value_or(kParticipationCap);
  }
  r.first_group = o.first_round ? *o.first_round == "group" : preset.first_group;
  r.fast_idles = o.fast_join ? *o.fast_join == "idle" : preset.fast_idles;
  r.first_steps = o.initial_local_steps.value_or(r.auto_bounds ? r.lowest_steps : r.min_steps);
  return r;
}

std::vector<std::string> CompassWarnings(const ResolvedCompassOptions& o) {
  std::vector<std::string> warnings;
  if (o.min_steps == o.max_steps && !o.auto_bounds) {
    warnings.push_back(absl::StrCat(
        "min_local_steps and max_local_steps are both ", o.max_steps,
        ": clients arrive together only if their speeds are multiples of one another"));
  } else if (o.min_steps == 1 && !o.auto_bounds) {
    warnings.push_back(
        "min_local_steps is 1: nearly everybody joins one group, which is synchronous training "
        "with unequal work");
  }
  if (o.lateness_ppm < 1'100'000) {
    warnings.push_back(absl::StrCat("latest_time_factor is ",
                                    static_cast<double>(o.lateness_ppm) / 1e6,
                                    ": the least jitter makes updates late; 1.1 and more do not"));
  }
  return warnings;
}

}  // namespace tributary
