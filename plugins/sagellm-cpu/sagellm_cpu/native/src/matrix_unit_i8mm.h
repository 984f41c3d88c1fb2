// Products of bytes by SMMLA of Armv8.6: two rows of eight bytes times two others, in one register
// each. See the Arm C Language Extensions, vmmlaq_s32.
//
// Codes are laid out [8 inputs together][16 outputs][8 inputs].
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "codes_layout.h"
#include "int8_tile.h"

namespace sagellm {
namespace matrix {

constexpr const char* kName = "i8mm";
constexpr int kRows = 4;  // and 16 outputs: half of the registers are sums
// With fewer rows it costs more to lay codes out than is gained.
constexpr int64_t kFewest = 8;
constexpr int kAtOnce = 1;
constexpr int64_t kBlockBytes = 384 * 1024;
constexpr int64_t kPairBytes = 2 * kStepBytes;  // of two quads

using Sums = lanes::Ints[kAtOnce][kRows];

inline bool usable() { return true; }

struct Shape {
  explicit Shape(int64_t quads) : group_quads(quads), group_pairs(ceil_div(quads, 2)) {}

  int64_t group_inputs() const { return group_quads * 4; }
  int64_t group_bytes() const { return group_pairs * kPairBytes; }

  int64_t group_quads;
  int64_t group_pairs;
};

struct Unit {
  explicit Unit(const Shape&) {}
};

inline void store_pair(int8_t* target, const lanes::Bytes& first, const lanes::Bytes& second) {
  for (int i = 0; i < 4; ++i) {
    const int32x4_t a = vreinterpretq_s32_s8(first.part[i]);
    const int32x4_t b = vreinterpretq_s32_s8(second.part[i]);
    vst1q_s8(target + 32 * i, vreinterpretq_s8_s32(vzip1q_s32(a, b)));
    vst1q_s8(target + 32 * i + 16, vreinterpretq_s8_s32(vzip2q_s32(a, b)));
  }
}

inline lanes::Bytes signed_codes(const uint8_t* source) {
  const lanes::Bytes bytes = lanes::load_codes(source);
  return lanes::each_part<lanes::Bytes>(
      [&](int i) { return veorq_s8(bytes.part[i], vdupq_n_s8(-kCodeZero)); });
}

template <int32_t kFormat>
inline void expand(const uint8_t* codes, int64_t steps, const Shape&, int8_t* target,
                   int64_t ahead) {
  if constexpr (kFormat == kQ4) {
    for (int64_t step = 0; step < steps; ++step) {
      const lanes::Bytes bytes = lanes::load_codes(codes + step * kStepBytes);
      fetch_ahead(codes + step * kStepBytes, ahead);
      store_pair(target + step * kPairBytes, lanes::low_halves(bytes), lanes::high_halves(bytes));
    }
  } else {
    const lanes::Bytes none = lanes::each_part<lanes::Bytes>([](int) { return vdupq_n_s8(0); });
    for (int64_t step = 0; step < steps; step += 2) {
      const uint8_t* const here = codes + step * kStepBytes;
      fetch_ahead(here, ahead);
      fetch_ahead(here + kStepBytes, ahead);
      const bool both = step + 1 < steps;
      store_pair(target, signed_codes(here), both ? signed_codes(here + kStepBytes) : none);
      target += kPairBytes;
    }
  }
}

inline void products(Sums& sums, const int8_t* inputs, int64_t stride, const int8_t* codes,
                     const Shape& shape, int64_t) {
  constexpr int kPairs = kRows / 2, kOutputs = kPanel / 2;
  int32x4_t blocks[kPairs][kOutputs];  // of two rows and two outputs
  SAGELLM_UNROLL
  for (int r = 0; r < kPairs; ++r) {
    SAGELLM_UNROLL
    for (int p = 0; p < kOutputs; ++p) blocks[r][p] = vdupq_n_s32(0);
  }
  for (int64_t pair = 0; pair < shape.group_pairs; ++pair) {
    int8x16_t rows[kPairs];
    SAGELLM_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      const int8_t* const row = inputs + 2 * r * stride + 8 * pair;
      rows[r] = vcombine_s8(vld1_s8(row), vld1_s8(row + stride));
    }
    SAGELLM_UNROLL
    for (int p = 0; p < kOutputs; ++p) {
      const int8x16_t outputs = vld1q_s8(codes + pair * kPairBytes + 16 * p);
      SAGELLM_UNROLL
      for (int r = 0; r < kPairs; ++r) {
        blocks[r][p] = vmmlaq_s32(blocks[r][p], rows[r], outputs);
      }
    }
  }
  SAGELLM_UNROLL
  for (int r = 0; r < kPairs; ++r) {
    SAGELLM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64x2_t a = vreinterpretq_s64_s32(blocks[r][2 * i]);
      const int64x2_t b = vreinterpretq_s64_s32(blocks[r][2 * i + 1]);
      sums[0][2 * r].part[i] = vreinterpretq_s32_s64(vzip1q_s64(a, b));
      sums[0][2 * r + 1].part[i] = vreinterpretq_s32_s64(vzip2q_s64(a, b));
    }
  }
}

}  // namespace matrix
}  // namespace sagellm
