// Lanes in one AVX-512 register, with VNNI where there is any.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sagellm {
namespace lanes {

// Not __m512i: its lanes are of 64 bits, and GCC then keeps accumulators twice and spills.
typedef int32_t Ints __attribute__((vector_size(64), may_alias));
using Floats = __m512;
using Bytes = __m512i;

constexpr bool kOffset = true;
constexpr int kRowsOneScale = 6, kPanelsOneScale = 4;
constexpr int kRowsGroups = 4, kPanelsGroups = 3;

inline Ints set_int(int32_t value) { return (Ints)_mm512_set1_epi32(value); }
inline Floats set_float(float value) { return _mm512_set1_ps(value); }
// Masked with all lanes, which costs nothing: some versions of GCC warn of their own
// _mm512_cvtepi32_ps().
inline Floats to_float(Ints value) { return _mm512_maskz_cvtepi32_ps(0xFFFF, (__m512i)value); }
inline Floats to_float(Bytes value) { return to_float((Ints)value); }
inline Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats load(const float* source) { return _mm512_loadu_ps(source); }
inline void store(float* target, Floats value) { _mm512_storeu_ps(target, value); }

inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
inline Floats load_some(const float* source, int count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), source);
}
inline void store_some(float* target, Floats value, int count) {
  _mm512_mask_storeu_ps(target, first_lanes(count), value);
}

inline Bytes load_codes(const uint8_t* source) { return _mm512_loadu_si512(source); }
inline Bytes low_halves(Bytes pairs) { return _mm512_and_si512(pairs, _mm512_set1_epi8(15)); }
inline Bytes high_halves(Bytes pairs) {
  return _mm512_and_si512(_mm512_srli_epi16(pairs, 4), _mm512_set1_epi8(15));
}
inline Bytes broadcast_inputs(const int8_t* source) {
  int32_t four;
  std::memcpy(&four, source, sizeof four);
  return _mm512_set1_epi32(four);
}

#if defined(__AVX512VNNI__)

inline Ints dot_q8(Ints acc, Bytes codes, Bytes inputs) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)acc, codes, inputs);
}
inline Ints dot_q4(Ints acc, Bytes codes, Bytes inputs) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)acc, codes, inputs);
}

#else

// Widened to 16 bits, even and odd bytes apart: products of full-range bytes do not fit into the
// saturating 16-bit sums of VPMADDUBSW.
inline Ints dot_q8(Ints acc, Bytes codes, Bytes inputs) {
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(codes, _mm512_set1_epi16(255)),
                                      _mm512_srai_epi16(_mm512_slli_epi16(inputs, 8), 8));
  const __m512i odd =
      _mm512_madd_epi16(_mm512_srli_epi16(codes, 8), _mm512_srai_epi16(inputs, 8));
  return (Ints)_mm512_add_epi32((__m512i)acc, _mm512_add_epi32(even, odd));
}

// Two products of at most 15 * 127 do fit.
inline Ints dot_q4(Ints acc, Bytes codes, Bytes inputs) {
  const __m512i pairs = _mm512_maddubs_epi16(codes, inputs);
  return (Ints)_mm512_add_epi32((__m512i)acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#endif

}  // namespace lanes
}  // namespace sagellm
