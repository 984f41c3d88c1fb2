// Lanes in four NEON registers, with the dot product of Armv8.2.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sagellm {
namespace lanes {

struct Ints {
  int32x4_t part[4];
};
struct Floats {
  float32x4_t part[4];
};
struct Bytes {
  int8x16_t part[4];
};

// SDOT multiplies signed bytes: codes of kQ8 lose their 128 before.
constexpr bool kOffset = false;
constexpr int kRowsOneScale = 4, kPanelsOneScale = 1;
constexpr int kRowsGroups = 3, kPanelsGroups = 1;

template <class Result, class Operation>
inline Result each_part(Operation operation) {
  return {{operation(0), operation(1), operation(2), operation(3)}};
}

inline Ints set_int(int32_t value) {
  return each_part<Ints>([&](int) { return vdupq_n_s32(value); });
}
inline Floats set_float(float value) {
  return each_part<Floats>([&](int) { return vdupq_n_f32(value); });
}
inline Floats to_float(Ints value) {
  return each_part<Floats>([&](int i) { return vcvtq_f32_s32(value.part[i]); });
}
inline Floats mul(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
inline Floats add(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return each_part<Floats>([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
inline Floats load(const float* source) {
  return each_part<Floats>([&](int i) { return vld1q_f32(source + 4 * i); });
}
inline void store(float* target, Floats value) {
  for (int i = 0; i < 4; ++i) vst1q_f32(target + 4 * i, value.part[i]);
}
inline Floats load_some(const float* source, int count) {
  float all[16] = {};
  std::memcpy(all, source, static_cast<size_t>(count) * sizeof(float));
  return load(all);
}
inline void store_some(float* target, Floats value, int count) {
  float all[16];
  store(all, value);
  std::memcpy(target, all, static_cast<size_t>(count) * sizeof(float));
}

inline Bytes load_codes(const uint8_t* source) {
  return each_part<Bytes>([&](int i) { return vreinterpretq_s8_u8(vld1q_u8(source + 16 * i)); });
}
inline Bytes low_halves(Bytes pairs) {
  return each_part<Bytes>([&](int i) { return vandq_s8(pairs.part[i], vdupq_n_s8(15)); });
}
inline Bytes high_halves(Bytes pairs) {
  return each_part<Bytes>([&](int i) {
    return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(pairs.part[i]), 4));
  });
}
inline Bytes broadcast_inputs(const int8_t* source) {
  int32_t four;
  std::memcpy(&four, source, sizeof four);
  return each_part<Bytes>([&](int) { return vreinterpretq_s8_s32(vdupq_n_s32(four)); });
}

inline Ints dot_q8(Ints acc, Bytes codes, Bytes inputs) {
  return each_part<Ints>([&](int i) {
    const int8x16_t codes_signed = veorq_s8(codes.part[i], vdupq_n_s8(-128));
    return vdotq_s32(acc.part[i], codes_signed, inputs.part[i]);
  });
}
inline Ints dot_q4(Ints acc, Bytes codes, Bytes inputs) {
  return each_part<Ints>(
      [&](int i) { return vdotq_s32(acc.part[i], codes.part[i], inputs.part[i]); });
}

}  // namespace lanes
}  // namespace sagellm
