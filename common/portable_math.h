// Logarithm and exponential with the same bits on every machine: IEEE additions,
// multiplications and divisions in a fixed order, no libm and no fused operations (the tree
// is compiled with -ffp-contract=off). Within a few units in the last place of the true value.
#ifndef TRIBUTARY_COMMON_PORTABLE_MATH_H_
#define TRIBUTARY_COMMON_PORTABLE_MATH_H_

namespace tributary::portable {

// Natural logarithm. -infinity for 0, NaN for a negative number.
double Log(double x);

// Underflows to 0 and overflows to infinity as IEEE 754 does.
double Exp(double x);

}  // namespace tributary::portable

#endif  // TRIBUTARY_COMMON_PORTABLE_MATH_H_
