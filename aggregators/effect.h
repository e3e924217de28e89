// Effect: what a step between the combined delta and the model may do to the delta's
// direction. It decides in which order steps are sound (see pipeline.h).
#ifndef TRIBUTARY_AGGREGATORS_EFFECT_H_
#define TRIBUTARY_AGGREGATORS_EFFECT_H_

namespace tributary {

enum class Effect {
  kScales,    // multiplies by one number: keeps the direction
  kMasks,     // multiplies each coordinate by 0 or 1
  kReshapes,  // anything else that leaves a coordinate 0 that never was anything else:
              // per coordinate, or with a memory of earlier deltas
  kProjects,  // removes directions that must not come back; keeps what a mask has cleared
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_EFFECT_H_
