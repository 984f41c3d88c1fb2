// What attention, norms and activations need of sixteen lanes beside int8_lanes.h.
//
//   sub, div, max, min    lane by lane; max(a, b) and min(a, b) give b where it is not a number
//   nearest(x)            to the nearest integer, ties to even
//   times_power(x, n)     x * 2^n for an integer n of -126..127
//   zero_below(y, x, low) 0 where x < low, else y
//   exponential(x)        e^x; 0 below -87, and above 88 no more than e^88
//   hyperbolic_tangent(x) within 3e-7
//   sum(x), largest(x)    over the lanes, always in the same order
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "int8_lanes.h"

namespace sagellm {
namespace lanes {

#if defined(__AVX512F__) && defined(__AVX512BW__)

// Masked with all lanes for the reason given at to_float().
inline Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats max(Floats a, Floats b) { return _mm512_maskz_max_ps(0xFFFF, a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_maskz_min_ps(0xFFFF, a, b); }
inline Floats nearest(Floats x) {
  return _mm512_maskz_roundscale_ps(0xFFFF, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Floats times_power(Floats x, Floats n) { return _mm512_maskz_scalef_ps(0xFFFF, x, n); }
inline Floats zero_below(Floats y, Floats x, float low) {
  // Not less than, rather than at least: NaN stays.
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(low), _CMP_NLT_UQ), y);
}

#elif defined(__AVX2__) && defined(__FMA__)

inline Floats sub(Floats a, Floats b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline Floats div(Floats a, Floats b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline Floats max(Floats a, Floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline Floats min(Floats a, Floats b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline Floats nearest(Floats x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kMode), _mm256_round_ps(x.high, kMode)};
}
inline __m256 power_of_two(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
inline Floats times_power(Floats x, Floats n) {
  return mul(x, {power_of_two(n.low), power_of_two(n.high)});
}
inline Floats zero_below(Floats y, Floats x, float low) {
  const __m256 limit = _mm256_set1_ps(low);
  return {_mm256_and_ps(y.low, _mm256_cmp_ps(x.low, limit, _CMP_NLT_UQ)),
          _mm256_and_ps(y.high, _mm256_cmp_ps(x.high, limit, _CMP_NLT_UQ))};
}

#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)

inline Floats sub(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vsubq_f32(a.part[i], b.part[i]); });
}
inline Floats div(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vdivq_f32(a.part[i], b.part[i]); });
}
inline Floats max(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vmaxq_f32(a.part[i], b.part[i]); });
}
inline Floats min(Floats a, Floats b) {
  return each_part<Floats>([&](int i) { return vminq_f32(a.part[i], b.part[i]); });
}
inline Floats nearest(Floats x) {
  return each_part<Floats>([&](int i) { return vrndnq_f32(x.part[i]); });
}
inline Floats times_power(Floats x, Floats n) {
  return each_part<Floats>([&](int i) {
    const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n.part[i]), vdupq_n_s32(127));
    return vmulq_f32(x.part[i], vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
  });
}
inline Floats zero_below(Floats y, Floats x, float low) {
  return each_part<Floats>([&](int i) {
    const uint32x4_t below = vcltq_f32(x.part[i], vdupq_n_f32(low));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y.part[i]), below));
  });
}

#else

inline Floats sub(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline Floats div(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline Floats max(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Floats min(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Floats nearest(const Floats& x) {
  // Adding 1.5 * 2^23 leaves no bits for a fraction: for numbers below 2^22, as here.
  constexpr float kMagic = 12582912.0f;
  return each_lane<Floats>([&](int i) {
    volatile float shifted = x.lane[i] + kMagic;  // volatile: -ffast-math must not undo it
    return shifted - kMagic;
  });
}
inline Floats times_power(const Floats& x, const Floats& n) {
  return each_lane<Floats>([&](int i) {
    // Not a number has no integer: any power keeps it.
    const int32_t power = n.lane[i] == n.lane[i] ? static_cast<int32_t>(n.lane[i]) : 0;
    const int32_t bits = (power + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return x.lane[i] * scale;
  });
}
inline Floats zero_below(const Floats& y, const Floats& x, float low) {
  return each_lane<Floats>([&](int i) { return x.lane[i] < low ? 0.0f : y.lane[i]; });
}

#endif

// e^x = 2^n e^r with |r| <= ln(2) / 2, and e^r by its Taylor series: the rest is below 2e-7.
inline Floats exponential(Floats x) {
  const Floats inside = min(set_float(88.0f), max(set_float(-87.0f), x));
  const Floats n = nearest(mul(inside, set_float(1.44269504f)));
  // ln(2) in two parts, the first of few bits: its product with n is exact.
  Floats r = fma(n, set_float(-0.693359375f), inside);
  r = fma(n, set_float(2.12194440e-4f), r);
  Floats series = set_float(1.0f / 720.0f);
  series = fma(series, r, set_float(1.0f / 120.0f));
  series = fma(series, r, set_float(1.0f / 24.0f));
  series = fma(series, r, set_float(1.0f / 6.0f));
  series = fma(series, r, set_float(0.5f));
  series = fma(series, r, set_float(1.0f));
  series = fma(series, r, set_float(1.0f));
  return zero_below(times_power(series, n), x, -87.0f);
}

inline Floats hyperbolic_tangent(Floats x) {
  const Floats one = set_float(1.0f);
  const Floats squared = exponential(add(x, x));
  return sub(one, div(set_float(2.0f), add(squared, one)));
}

inline float sum(Floats x) {
  float lane[16];
  store(lane, x);
  for (int width = 8; width; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

inline float largest(Floats x) {
  float lane[16];
  store(lane, x);
  for (int width = 8; width; width /= 2) {
    for (int i = 0; i < width; ++i) {
      if (!(lane[i] >= lane[i + width])) lane[i] = lane[i + width];
    }
  }
  return lane[0];
}

}  // namespace lanes
}  // namespace sagellm
