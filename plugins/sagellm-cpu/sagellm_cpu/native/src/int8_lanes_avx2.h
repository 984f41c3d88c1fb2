// Lanes in two AVX2 registers, with AVX-VNNI (or AVX512-VNNI in 256 bits) where there is any.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sagellm {
namespace lanes {

// Not __m256i: its lanes are of 64 bits, and GCC then keeps accumulators twice and spills.
typedef int32_t HalfInts __attribute__((vector_size(32), may_alias));
struct Ints {
  HalfInts low, high;
};
struct Floats {
  __m256 low, high;
};
struct Bytes {
  __m256i low, high;
};

constexpr bool kOffset = true;
constexpr int kRowsOneScale = 4, kPanelsOneScale = 1;
constexpr int kRowsGroups = 3, kPanelsGroups = 1;

inline Ints set_int(int32_t value) {
  return {(HalfInts)_mm256_set1_epi32(value), (HalfInts)_mm256_set1_epi32(value)};
}
inline Floats set_float(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline Floats to_float(Ints value) {
  return {_mm256_cvtepi32_ps((__m256i)value.low), _mm256_cvtepi32_ps((__m256i)value.high)};
}
inline Floats to_float(Bytes value) {
  return {_mm256_cvtepi32_ps(value.low), _mm256_cvtepi32_ps(value.high)};
}
inline Floats mul(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline Floats add(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Floats fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Floats load(const float* source) {
  return {_mm256_loadu_ps(source), _mm256_loadu_ps(source + 8)};
}
inline void store(float* target, Floats value) {
  _mm256_storeu_ps(target, value.low);
  _mm256_storeu_ps(target + 8, value.high);
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
  const auto* const halves = reinterpret_cast<const __m256i*>(source);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
inline Bytes low_halves(Bytes pairs) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(pairs.low, mask), _mm256_and_si256(pairs.high, mask)};
}
inline Bytes high_halves(Bytes pairs) {
  return low_halves({_mm256_srli_epi16(pairs.low, 4), _mm256_srli_epi16(pairs.high, 4)});
}
inline Bytes broadcast_inputs(const int8_t* source) {
  int32_t four;
  std::memcpy(&four, source, sizeof four);
  return {_mm256_set1_epi32(four), _mm256_set1_epi32(four)};
}

#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))

inline HalfInts dot_half(HalfInts acc, __m256i codes, __m256i inputs) {
#if defined(__AVXVNNI__)
  return (HalfInts)_mm256_dpbusd_avx_epi32((__m256i)acc, codes, inputs);
#else
  return (HalfInts)_mm256_dpbusd_epi32((__m256i)acc, codes, inputs);
#endif
}
inline HalfInts dot_half_q8(HalfInts acc, __m256i codes, __m256i inputs) {
  return dot_half(acc, codes, inputs);
}
inline HalfInts dot_half_q4(HalfInts acc, __m256i codes, __m256i inputs) {
  return dot_half(acc, codes, inputs);
}

#else

// Widened to 16 bits, even and odd bytes apart: products of full-range bytes do not fit into the
// saturating 16-bit sums of VPMADDUBSW.
inline HalfInts dot_half_q8(HalfInts acc, __m256i codes, __m256i inputs) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(inputs, 8), 8));
  const __m256i odd =
      _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(inputs, 8));
  return (HalfInts)_mm256_add_epi32((__m256i)acc, _mm256_add_epi32(even, odd));
}

// Two products of at most 15 * 127 do fit.
inline HalfInts dot_half_q4(HalfInts acc, __m256i codes, __m256i inputs) {
  const __m256i pairs = _mm256_maddubs_epi16(codes, inputs);
  return (HalfInts)_mm256_add_epi32((__m256i)acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#endif

inline Ints dot_q8(Ints acc, Bytes codes, Bytes inputs) {
  return {dot_half_q8(acc.low, codes.low, inputs.low),
          dot_half_q8(acc.high, codes.high, inputs.high)};
}
inline Ints dot_q4(Ints acc, Bytes codes, Bytes inputs) {
  return {dot_half_q4(acc.low, codes.low, inputs.low),
          dot_half_q4(acc.high, codes.high, inputs.high)};
}

}  // namespace lanes
}  // namespace sagellm
