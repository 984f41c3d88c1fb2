// Weights widened into two AVX2 registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "half.h"
#include "int8_lanes_avx2.h"

namespace sagellm {
namespace lanes {

constexpr int kFewRows = 4;
constexpr int kTallRows = 6, kWide = 1;

constexpr int few_panels(int rows) { return rows <= 2 ? 2 : 1; }

inline Floats load_half(const uint16_t* source) {
#if defined(__F16C__)
  const auto* const halves = reinterpret_cast<const __m128i*>(source);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
#else
  float all[16];
  for (int i = 0; i < 16; ++i) all[i] = widen_half(source[i]);
  return load(all);
#endif
}
inline __m256 widen_bfloat_part(const uint16_t* source) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Floats load_bfloat(const uint16_t* source) {
  return {widen_bfloat_part(source), widen_bfloat_part(source + 8)};
}

template <int kShift, int kMask>
inline Floats bits_of(Bytes bytes) {
  const __m256i mask = _mm256_set1_epi32(kMask);
  return to_float(Bytes{_mm256_and_si256(_mm256_srli_epi32(bytes.low, kShift), mask),
                        _mm256_and_si256(_mm256_srli_epi32(bytes.high, kShift), mask)});
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
