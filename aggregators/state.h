// StateRefs: the persistent state of a transform or an optimizer, by name and in place.
// The host writes what it points to, and reads back into it, in the same transaction as
// the version that it belongs to; nothing is copied.
#ifndef TRIBUTARY_AGGREGATORS_STATE_H_
#define TRIBUTARY_AGGREGATORS_STATE_H_

#include <map>
#include <string>

#include "common/params/param_vector.h"

namespace tributary {

struct StateRefs {
  std::map<std::string, ParamVector*> vectors;  // an empty ParamVector: not yet there
  std::map<std::string, double*> scalars;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_STATE_H_
