// Effect: what a step between the combined delta and the model may do to the delta's
// direction. It decides in which order steps are sound (see pipeline.h).
#ifndef TRIBUTARY_AGGREGATORS_EFFECT_H_
#define TRIBUTARY_AGGREGATORS_EFFECT_H_

namespace tributary {

enum class Effect {
  kScales,    // multiplies by one number: keeps the direction
  kReshapes,  // anything else: per coordinate, or with a memory of earlier deltas
  kProjects,  // removes directions that must not come back
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_EFFECT_H_
