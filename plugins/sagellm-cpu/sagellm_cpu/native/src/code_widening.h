// Codes of kQ8 and kQ4 as floats: w = scale * code + minimum, in one rounding.
#pragma once

#include <cstdint>

#include "codes_layout.h"
#include "float_lanes.h"
#include "group_scales.h"
#include "linear.h"

namespace sagellm {

// Scale and minimum of one group of a panel.
struct GroupScale {
  lanes::Floats scale;
  lanes::Floats least;  // the weight whose byte is zero
};

// The 128 that is in the bytes of kQ8 goes into the minimum: without a minimum of its own the
// result is that of scale * code, because 128 * scale is exact (and, where fma() rounds twice, off
// by the rounding of scale * byte).
template <int32_t kFormat>
inline GroupScale group_scale(const Weight& weight, int64_t panel, int64_t groups, int64_t group) {
  GroupScale found = {PanelScales(weight, weight.scales, panel, groups).load(group),
                      lanes::set_float(0.0f)};
  if (weight.mins != nullptr) {
    found.least = PanelScales(weight, weight.mins, panel, groups).load(group);
  }
  if (kFormat == kQ8) {
    found.least = lanes::fma(found.scale, lanes::set_float(-kCodeZero), found.least);
  }
  return found;
}

// Asks for the scales, and minimums, that are `ahead` bytes after those of a group.
inline void prefetch_scale(const Weight& weight, int64_t panel, int64_t groups, int64_t group,
                           int64_t ahead) {
  lanes::prefetch(PanelScales(weight, weight.scales, panel, groups).at(group) + ahead);
  if (weight.mins != nullptr) {
    lanes::prefetch(PanelScales(weight, weight.mins, panel, groups).at(group) + ahead);
  }
}

// Weights of input kInput of a step.
template <int32_t kFormat, int kInput>
inline lanes::Floats widen_code(const lanes::Bytes& bytes, const GroupScale& group) {
  if constexpr (kFormat == kQ8) {
    return lanes::fma(lanes::code_q8<kInput>(bytes), group.scale, group.least);
  } else {
    return lanes::fma(lanes::code_q4<kInput>(bytes), group.scale, group.least);
  }
}

// Widens a whole step; dst: [step_inputs][16].
template <int32_t kFormat, int kInput = 0>
inline void widen_step(const lanes::Bytes& bytes, const GroupScale& group, float* dst) {
  if constexpr (kInput < step_inputs(kFormat)) {
    lanes::store(dst + kInput * kPanel, widen_code<kFormat, kInput>(bytes, group));
    widen_step<kFormat, kInput + 1>(bytes, group, dst);
  }
}

}  // namespace sagellm
