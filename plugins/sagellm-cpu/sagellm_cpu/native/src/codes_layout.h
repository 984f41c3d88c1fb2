// Where the codes and scales of kQ8 and kQ4 weights lie, for every kernel that reads them.
//
// Outputs are taken in panels of 16, one panel after the other; the last one is padded with outputs
// whose codes mean zero and whose scales and minimums are zero.
//
//   kQ8 data: [panel][steps][16 outputs][4 inputs] bytes, a byte being code + 128
//   kQ4 data: [panel][steps][16 outputs][4 pairs] bytes; of step s, pair j holds the code of input
//             8 s + j in its low half and that of input 8 s + 4 + j in its high half
//   scales, mins: [panel][groups][16 outputs] floats, of 16 bits where those hold all of a weight's
//                 exactly
//
// so that 64 bytes are the codes of one step: 16 lanes of 4 bytes, which is the unsigned operand of
// a dot product of bytes (VPDPBUSD). To widen codes to floats instead, take byte j of every lane:
// it is input 4 s + j of 16 outputs. Where `in` is no multiple of a step, the missing codes mean
// zero. Data is aligned to 64 bytes when the buffer is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "linear.h"

namespace sagellm {

constexpr int64_t kPanel = 16;      // outputs
constexpr int64_t kStepBytes = 64;  // one step of one panel
constexpr int kCodeZero = 128;      // the byte of a kQ8 code of zero

inline constexpr int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Inputs that one step of a panel covers.
inline constexpr int64_t step_inputs(int32_t format) { return format == kQ4 ? 8 : 4; }

inline constexpr int64_t panels_of(int64_t out) { return ceil_div(out, kPanel); }

inline constexpr int64_t steps_of(int32_t format, int64_t in) {
  return ceil_div(in, step_inputs(format));
}

inline constexpr int64_t groups_of(int64_t in, int64_t group) { return ceil_div(in, group); }

inline constexpr int64_t panel_bytes(int32_t format, int64_t in) {
  return steps_of(format, in) * kStepBytes;
}

// Where a panel begins.
inline const uint8_t* panel_codes(const Weight& weight, int64_t panel) {
  return static_cast<const uint8_t*>(weight.data) + panel * panel_bytes(weight.format, weight.in);
}

// Index of a panel's first scale, and minimum, of a group.
inline constexpr int64_t scale_index(int64_t panel, int64_t groups, int64_t group) {
  return (panel * groups + group) * kPanel;
}

// Bytes of the scales, and of the minimums, of one group of a panel.
inline constexpr int64_t scale_bytes(int32_t scale_format) {
  return kPanel * (scale_format == kF16 ? 2 : 4);
}

}  // namespace sagellm
