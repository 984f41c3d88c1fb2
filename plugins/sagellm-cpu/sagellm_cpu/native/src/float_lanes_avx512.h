// Weights widened into one AVX-512 register.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "int8_lanes_avx512.h"

namespace sagellm {
namespace lanes {

constexpr int kFewRows = 8;
// No more rows than there are registers for their addresses: measured on Zen 4 beside 12 x 2, whose
// addresses come from memory, 116 and 107 of 117 GFLOP/s.
constexpr int kTallRows = 8, kWide = 3;

// Four even for one row: of more panels, scales and minimums would not stay in registers.
constexpr int few_panels(int rows) { return rows <= 4 ? 4 : 2; }

// Masked with all lanes, here and below, for the reason given at to_float().
inline Bytes shift_right(Bytes value, unsigned bits) {
  return _mm512_maskz_srli_epi32(0xFFFF, value, bits);
}
inline Floats load_half(const uint16_t* source) {
  return _mm512_maskz_cvtph_ps(
      0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
}
inline Floats load_bfloat(const uint16_t* source) {
  const __m512i wide = _mm512_maskz_cvtepu16_epi32(
      0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xFFFF, wide, 16));
}

template <int kInput>
inline Floats code_q8(Bytes bytes) {
  return to_float(_mm512_and_si512(shift_right(bytes, 8 * kInput), _mm512_set1_epi32(255)));
}

// A table of the sixteen values, indexed by the low four bits of a lane: mask and conversion in one.
template <int kInput>
inline Floats code_q4(Bytes bytes) {
  const __m512 values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  constexpr int kShift = kInput < 4 ? 8 * kInput : 8 * (kInput - 4) + 4;
  return _mm512_maskz_permutexvar_ps(0xFFFF, shift_right(bytes, kShift), values);
}

}  // namespace lanes
}  // namespace sagellm
