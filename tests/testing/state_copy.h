// What a host does with StateRefs: writes the state of one object and reads it into another.
#ifndef TRIBUTARY_TESTS_TESTING_STATE_COPY_H_
#define TRIBUTARY_TESTS_TESTING_STATE_COPY_H_

#include "aggregators/state.h"

namespace tributary::test {

// `from` and `to` are states of two objects of one kind.
inline void CopyState(const StateRefs& from, const StateRefs& to) {
  for (const auto& [name, vector] : from.vectors) {
    *to.vectors.at(name) = vector->empty() ? ParamVector() : vector->Clone();
  }
  for (const auto& [name, scalar] : from.scalars) *to.scalars.at(name) = *scalar;
}

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_STATE_COPY_H_
