// Pieces of a tile of a linear layer in float arithmetic: some rows times some panels of 16 outputs.
//
// Every sum is one chain of fused multiply-adds over the inputs from first to last, in all tiles.
#pragma once

#include <cstdint>

#include "codes_layout.h"
#include "float_lanes.h"
#include "floats_layout.h"
#include "linear.h"

namespace sagellm {

// What the tiles of one call have in common.
struct FloatLayer {
  const Weight& weight;
  const float* x;
  int64_t ld;
  float* y;
  int64_t ldy;
  bool add;  // to what is in y
};

template <int kRows, int kPanels>
using Sums = lanes::Floats[kRows][kPanels];

template <int kRows, int kPanels>
inline void clear(Sums<kRows, kPanels>& sums) {
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) sums[r][p] = lanes::set_float(0.0f);
  }
}

// 16 numbers of a panel of floats.
template <int32_t kFormat>
inline lanes::Floats load_numbers(const void* panel, int64_t k) {
  if constexpr (kFormat == kF32) {
    return lanes::load(static_cast<const float*>(panel) + k * kPanel);
  } else if constexpr (kFormat == kF16) {
    return lanes::load_half(static_cast<const uint16_t*>(panel) + k * kPanel);
  } else {
    return lanes::load_bfloat(static_cast<const uint16_t*>(panel) + k * kPanel);
  }
}

// Adds input k of every row times its weights.
template <int kRows, int kPanels>
inline void add_products(Sums<kRows, kPanels>& sums, const lanes::Floats (&weights)[kPanels],
                         const float* const (&x)[kRows], int64_t k) {
  for (int r = 0; r < kRows; ++r) {
    const lanes::Floats input = lanes::set_float(x[r][k]);
    for (int p = 0; p < kPanels; ++p) sums[r][p] = lanes::fma(weights[p], input, sums[r][p]);
  }
}

// Writes the sums of `rows` rows from `row` and of kPanels panels from `panel`.
template <int kRows, int kPanels>
inline void write_sums(const FloatLayer& layer, const Sums<kRows, kPanels>& sums, int64_t row,
                       int64_t rows, int64_t panel) {
  const float* const bias = layer.weight.bias;
  for (int p = 0; p < kPanels; ++p) {
    const int64_t output = (panel + p) * kPanel;
    const int64_t left = layer.weight.out - output;
    const int count = static_cast<int>(left < kPanel ? left : kPanel);
    lanes::Floats added = lanes::set_float(0.0f);
    if (bias != nullptr) added = lanes::load_some(bias + output, count);
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) break;
      float* const target = layer.y + (row + r) * layer.ldy + output;
      lanes::Floats value = sums[r][p];
      if (bias != nullptr) value = lanes::add(value, added);
      if (layer.add) value = lanes::add(lanes::load_some(target, count), value);
      if (count == kPanel) {
        lanes::store(target, value);
      } else {
        lanes::store_some(target, value, count);
      }
    }
  }
}

// Rows from `row`; those after the last one are the last one again, whose sums nobody writes.
template <int kRows>
inline void point_at_rows(const FloatLayer& layer, int64_t row, int64_t rows,
                          const float* (&x)[kRows]) {
  for (int r = 0; r < kRows; ++r) x[r] = layer.x + (row + (r < rows ? r : rows - 1)) * layer.ld;
}

}  // namespace sagellm
