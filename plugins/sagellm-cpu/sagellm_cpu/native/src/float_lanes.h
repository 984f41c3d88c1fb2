// What float arithmetic needs of sixteen lanes beside int8_lanes.h: weights widened to floats.
//
//   kFewRows            rows up to which weights are widened in registers, for all rows at once
//   kTallRows, kWide    rows and panels of the largest tile of accumulators over float weights
//   few_panels(rows)    panels of a tile of that many rows whose weights are widened in registers
//
//   load_half(source)   16 weights of IEEE half precision
//   load_bfloat(source) 16 of bfloat16
//   code_q8<i>(bytes)   input i (0..3) of a step of kQ8: code + 128, of 16 outputs
//   code_q4<i>(bytes)   input i (0..7) of a step of kQ4
//   prefetch(source), prefetch_to_write(target)  ask for a cache line that is needed soon
#pragma once

#include "int8_lanes.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include "float_lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "float_lanes_avx2.h"
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
#include "float_lanes_neon.h"
#else
#include "float_lanes_portable.h"
#endif

namespace sagellm {
namespace lanes {

inline void prefetch(const void* source) { __builtin_prefetch(source); }
inline void prefetch_to_write(const void* target) { __builtin_prefetch(target, 1); }

}  // namespace lanes
}  // namespace sagellm
