// Sixteen rows of sixteen floats, turned into columns.
#pragma once

#include <cstdint>

#include "int8_lanes.h"

namespace sagellm {
namespace lanes {

#if defined(__AVX512F__) && defined(__AVX512BW__)

inline __m512 halves(__m512 a, __m512 b, bool high) {
  return high ? _mm512_maskz_unpackhi_ps(0xFFFF, a, b) : _mm512_maskz_unpacklo_ps(0xFFFF, a, b);
}
inline __m512 halves_of_pairs(__m512 a, __m512 b, bool high) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_castpd_ps(high ? _mm512_maskz_unpackhi_pd(0xFF, x, y)
                               : _mm512_maskz_unpacklo_pd(0xFF, x, y));
}

// target[column * stride + i] = row[i][column]
inline void transpose16(const Floats* row, float* target, int64_t stride) {
  __m512 pair[16], four[16];
  for (int i = 0; i < 8; ++i) {
    pair[2 * i] = halves(row[2 * i], row[2 * i + 1], false);
    pair[2 * i + 1] = halves(row[2 * i], row[2 * i + 1], true);
  }
  // four[4 * q + c]: of rows 4q..4q+3, columns c, c + 4, c + 8 and c + 12.
  for (int q = 0; q < 4; ++q) {
    four[4 * q] = halves_of_pairs(pair[4 * q], pair[4 * q + 2], false);
    four[4 * q + 1] = halves_of_pairs(pair[4 * q], pair[4 * q + 2], true);
    four[4 * q + 2] = halves_of_pairs(pair[4 * q + 1], pair[4 * q + 3], false);
    four[4 * q + 3] = halves_of_pairs(pair[4 * q + 1], pair[4 * q + 3], true);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512 a = four[c], b = four[4 + c], d = four[8 + c], e = four[12 + c];
    const __m512 ab_low = _mm512_maskz_shuffle_f32x4(0xFFFF, a, b, 0x44);
    const __m512 ab_high = _mm512_maskz_shuffle_f32x4(0xFFFF, a, b, 0xEE);
    const __m512 de_low = _mm512_maskz_shuffle_f32x4(0xFFFF, d, e, 0x44);
    const __m512 de_high = _mm512_maskz_shuffle_f32x4(0xFFFF, d, e, 0xEE);
    store(target + c * stride, _mm512_maskz_shuffle_f32x4(0xFFFF, ab_low, de_low, 0x88));
    store(target + (c + 4) * stride, _mm512_maskz_shuffle_f32x4(0xFFFF, ab_low, de_low, 0xDD));
    store(target + (c + 8) * stride, _mm512_maskz_shuffle_f32x4(0xFFFF, ab_high, de_high, 0x88));
    store(target + (c + 12) * stride, _mm512_maskz_shuffle_f32x4(0xFFFF, ab_high, de_high, 0xDD));
  }
}

#elif defined(__AVX2__) && defined(__FMA__)

inline void transpose8(const __m256* row, float* target, int64_t stride) {
  __m256 pair[8], four[8];
  for (int i = 0; i < 4; ++i) {
    pair[2 * i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]);
    pair[2 * i + 1] = _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
  }
  for (int q = 0; q < 2; ++q) {
    four[4 * q] = _mm256_shuffle_ps(pair[4 * q], pair[4 * q + 2], 0x44);
    four[4 * q + 1] = _mm256_shuffle_ps(pair[4 * q], pair[4 * q + 2], 0xEE);
    four[4 * q + 2] = _mm256_shuffle_ps(pair[4 * q + 1], pair[4 * q + 3], 0x44);
    four[4 * q + 3] = _mm256_shuffle_ps(pair[4 * q + 1], pair[4 * q + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_ps(target + c * stride, _mm256_permute2f128_ps(four[c], four[4 + c], 0x20));
    _mm256_storeu_ps(target + (c + 4) * stride,
                     _mm256_permute2f128_ps(four[c], four[4 + c], 0x31));
  }
}

inline void transpose16(const Floats* row, float* target, int64_t stride) {
  for (int side = 0; side < 2; ++side) {
    __m256 low[8], high[8];
    for (int i = 0; i < 8; ++i) {
      low[i] = row[8 * side + i].low;
      high[i] = row[8 * side + i].high;
    }
    transpose8(low, target + 8 * side, stride);
    transpose8(high, target + 8 * stride + 8 * side, stride);
  }
}

#else

inline void transpose16(const Floats* row, float* target, int64_t stride) {
  float all[16][16];
  for (int i = 0; i < 16; ++i) store(all[i], row[i]);
  for (int column = 0; column < 16; ++column) {
    for (int i = 0; i < 16; ++i) target[column * stride + i] = all[i][column];
  }
}

#endif

}  // namespace lanes
}  // namespace sagellm
