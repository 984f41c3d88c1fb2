// Scales and minimums of codes as lanes, whichever type they are kept in.
#pragma once

#include <cstdint>

#include "codes_layout.h"
#include "float_lanes.h"
#include "linear.h"

namespace sagellm {

// The scales, or minimums, of one panel.
class PanelScales {
 public:
  PanelScales() = default;
  // `numbers` is a weight's scales or mins, which must not be null.
  PanelScales(const Weight& weight, const void* numbers, int64_t panel, int64_t groups)
      : half_(weight.scale_format == kF16),
        numbers_(static_cast<const uint8_t*>(numbers) +
                 panel * groups * scale_bytes(weight.scale_format)) {}

  // Those of the 16 outputs, of one group.
  lanes::Floats load(int64_t group) const {
    if (half_) return lanes::load_half(reinterpret_cast<const uint16_t*>(at(group)));
    return lanes::load(reinterpret_cast<const float*>(at(group)));
  }

  // Where they are.
  const uint8_t* at(int64_t group) const {
    return numbers_ + group * scale_bytes(half_ ? kF16 : kF32);
  }

 private:
  bool half_ = false;
  const uint8_t* numbers_ = nullptr;
};

}  // namespace sagellm
