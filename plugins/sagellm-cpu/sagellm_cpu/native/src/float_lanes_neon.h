// Weights widened into four NEON registers.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "int8_lanes_neon.h"

namespace sagellm {
namespace lanes {

constexpr int kFewRows = 4;
constexpr int kTallRows = 6, kWide = 1;

constexpr int few_panels(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

inline Floats load_half(const uint16_t* source) {
  return each_part<Floats>([&](int i) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(source + 4 * i)));
  });
}
inline Floats load_bfloat(const uint16_t* source) {
  return each_part<Floats>([&](int i) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(source + 4 * i)), 16));
  });
}

// A shift to the left by a negative count is one to the right.
template <int kShift, int kMask>
inline Floats bits_of(Bytes bytes) {
  return each_part<Floats>([&](int i) {
    const uint32x4_t lanes = vreinterpretq_u32_s8(bytes.part[i]);
    return vcvtq_f32_u32(vandq_u32(vshlq_u32(lanes, vdupq_n_s32(-kShift)), vdupq_n_u32(kMask)));
  });
}
template <int kInput>
inline Floats code_q8(Bytes bytes) {
  return bits_of<8 * kInput, 255>(bytes);
}
template <int kInput>
inline Floats code_q4(Bytes bytes) {
  return bits_of<(kInput < 4 ? 8 * kInput : 8 * (kInput - 4) + 4), 15>(bytes);
}

}  // namespace lanes
}  // namespace sagellm
