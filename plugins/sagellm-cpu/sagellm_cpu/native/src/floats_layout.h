// Where the numbers of kF32, kF16 and kBF16 weights lie.
//
// Outputs are taken in panels of 16, one panel after the other; the last one is padded with outputs
// of zeros.
//
//   data: [panel][in][16 outputs], of 4 bytes (kF32) or 2 (kF16, kBF16)
#pragma once

#include <cstdint>

#include "codes_layout.h"
#include "linear.h"

namespace sagellm {

inline constexpr bool is_float_format(int32_t format) { return format < kQ8; }

inline constexpr int64_t number_bytes(int32_t format) { return format == kF32 ? 4 : 2; }

// Index of an output's first number; those of its following inputs are kPanel apart.
inline constexpr int64_t number_index(int64_t output, int64_t in) {
  return (output / kPanel) * in * kPanel + output % kPanel;
}

}  // namespace sagellm
