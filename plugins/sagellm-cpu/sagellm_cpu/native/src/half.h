// 16-bit floats, widened one by one.
#pragma once

#include <cstdint>
#include <cstring>

namespace sagellm {

inline float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// bfloat16 is the upper half of a float.
inline float widen_bfloat(uint16_t bits) {
  return float_of_bits(static_cast<uint32_t>(bits) << 16);
}

// IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction.
inline float widen_half(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u;
  const uint32_t fraction = bits & 0x3FFu;
  if (exponent == 31) return float_of_bits(sign | 0x7F800000u | (fraction << 13));
  if (exponent != 0) return float_of_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * (1.0f / 16777216.0f);  // units of 2^-24
  return sign == 0 ? magnitude : -magnitude;
}

}  // namespace sagellm
