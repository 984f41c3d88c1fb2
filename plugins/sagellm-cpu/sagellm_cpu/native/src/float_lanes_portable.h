// Weights widened into arrays.
#pragma once

#include <cstdint>

#include "half.h"
#include "int8_lanes_portable.h"

namespace sagellm {
namespace lanes {

constexpr int kFewRows = 2;
constexpr int kTallRows = 2, kWide = 1;

constexpr int few_panels(int) { return 1; }

inline Floats load_half(const uint16_t* source) {
  return each_lane<Floats>([&](int i) { return widen_half(source[i]); });
}
inline Floats load_bfloat(const uint16_t* source) {
  return each_lane<Floats>([&](int i) { return widen_bfloat(source[i]); });
}

template <int kInput>
inline Floats code_q8(const Bytes& bytes) {
  return each_lane<Floats>([&](int i) { return static_cast<float>(bytes.byte[4 * i + kInput]); });
}
template <int kInput>
inline Floats code_q4(const Bytes& bytes) {
  return each_lane<Floats>([&](int i) {
    const int pair = bytes.byte[4 * i + kInput % 4];
    return static_cast<float>(kInput < 4 ? pair & 15 : pair >> 4);
  });
}

}  // namespace lanes
}  // namespace sagellm
