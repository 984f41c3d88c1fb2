// Sixteen lanes of 32 bits, one for each output of a panel, as this processor has them: the
// operations of which the int8 kernels consist. All variants give the same integers.
//
//   Ints, Floats   16 integers or floats
//   Bytes          16 lanes of 4 bytes: codes, or inputs, of one step
//   kOffset        whether dot_q8() leaves 128 * sum(inputs) in what it adds, for the caller to
//                  take out (RowGroup::offset)
//   kRows, kPanels size of the largest tile of accumulators, for one scale a row and for groups
//
//   dot_q8(acc, codes, inputs)  acc + codes * inputs over the 4 bytes, codes being bytes of kQ8
//   dot_q4(acc, codes, inputs)  the same for codes of 0..15
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include "int8_lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "int8_lanes_avx2.h"
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#include "int8_lanes_neon.h"
#else
#include "int8_lanes_portable.h"
#endif
