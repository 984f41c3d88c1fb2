// One tile of a linear layer in int8 arithmetic: some rows times some panels of 16 outputs.
#pragma once

#include <cstdint>

#include "codes_layout.h"
#include "group_scales.h"
#include "int8_lanes.h"
#include "linear.h"
#include "quantised_rows.h"

// Loops over a tile's rows and panels are unrolled altogether: only then are its accumulators in
// registers.
#if defined(__clang__)
#define SAGELLM_UNROLL _Pragma("unroll")
#else
#define SAGELLM_UNROLL _Pragma("GCC unroll 16")
#endif

namespace sagellm {

// What the tiles of one call have in common.
struct Int8Layer {
  const Weight& weight;
  const int8_t* rows;  // of quantise_row()
  int64_t row_stride;  // bytes
  int64_t groups;
  int64_t group_steps;  // steps of a panel in one group
  float* y;
  int64_t ldy;
  bool add;  // to what is in y
};

// Tiles larger than this are not fetched ahead as a whole, but a little in each of their panels.
constexpr int64_t kNearTile = 128 * 1024;
constexpr int64_t kAheadInPanel = 4096;

// Asks for a cache line; one beyond the end of the weight is asked for in vain.
inline void fetch_ahead(const void* here, int64_t ahead) {
  const uintptr_t line = reinterpret_cast<uintptr_t>(here) + static_cast<uintptr_t>(ahead);
  __builtin_prefetch(reinterpret_cast<const void*>(line));
}

// Adds one group's products for kRows x kPanels accumulators. Codes are unpacked once for all rows.
template <int32_t kFormat, bool kOnce, int kRows, int kPanels>
inline void accumulate(lanes::Ints (&sums)[kRows][kPanels], const uint8_t* const (&codes)[kPanels],
                       const int8_t* const (&inputs)[kRows], int64_t first_step, int64_t steps,
                       int64_t ahead) {
  for (int64_t step = first_step; step < first_step + steps; ++step) {
    lanes::Bytes bytes[kPanels];
    SAGELLM_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      bytes[p] = lanes::load_codes(codes[p] + step * kStepBytes);
      if (kOnce) fetch_ahead(codes[p] + step * kStepBytes, ahead);
    }
    if constexpr (kFormat == kQ8) {
      SAGELLM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const lanes::Bytes x = lanes::broadcast_inputs(inputs[r] + step * 4);
        SAGELLM_UNROLL
        for (int p = 0; p < kPanels; ++p) sums[r][p] = lanes::dot_q8(sums[r][p], bytes[p], x);
      }
    } else {
      lanes::Bytes half[kPanels];
      SAGELLM_UNROLL
      for (int p = 0; p < kPanels; ++p) half[p] = lanes::low_halves(bytes[p]);
      SAGELLM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const lanes::Bytes x = lanes::broadcast_inputs(inputs[r] + step * 8);
        SAGELLM_UNROLL
        for (int p = 0; p < kPanels; ++p) sums[r][p] = lanes::dot_q4(sums[r][p], half[p], x);
      }
      SAGELLM_UNROLL
      for (int p = 0; p < kPanels; ++p) half[p] = lanes::high_halves(bytes[p]);
      SAGELLM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const lanes::Bytes x = lanes::broadcast_inputs(inputs[r] + step * 8 + 4);
        SAGELLM_UNROLL
        for (int p = 0; p < kPanels; ++p) sums[r][p] = lanes::dot_q4(sums[r][p], half[p], x);
      }
    }
  }
}

// y += scale * input scale * sum, and minimum * sum of inputs, for one group. The order of
// operations is the same in every tile.
template <int kRows, int kPanels>
inline void scale_group(lanes::Floats (&y)[kRows][kPanels],
                        const lanes::Ints (&sums)[kRows][kPanels],
                        const RowGroup* const (&rows)[kRows],
                        const PanelScales (&scales)[kPanels], const PanelScales (&mins)[kPanels],
                        bool has_mins, int64_t group) {
  SAGELLM_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    const lanes::Floats scale = scales[p].load(group);
    SAGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const lanes::Floats both = lanes::mul(scale, lanes::set_float(rows[r][group].scale));
      y[r][p] = lanes::fma(lanes::to_float(sums[r][p]), both, y[r][p]);
    }
  }
  if (!has_mins) return;
  SAGELLM_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    const lanes::Floats minimum = mins[p].load(group);
    SAGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      y[r][p] = lanes::fma(minimum, lanes::set_float(rows[r][group].weighted_sum), y[r][p]);
    }
  }
}

template <int kRows, int kPanels>
inline void write_tile(const Int8Layer& layer, const lanes::Floats (&y)[kRows][kPanels],
                       int64_t row, int64_t panel) {
  SAGELLM_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    const int64_t output = (panel + p) * kPanel;
    const int64_t left = layer.weight.out - output;
    const int count = static_cast<int>(left < kPanel ? left : kPanel);
    const float* const bias = layer.weight.bias;
    lanes::Floats added = lanes::set_float(0.0f);
    if (bias != nullptr) added = lanes::load_some(bias + output, count);
    SAGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* const target = layer.y + (row + r) * layer.ldy + output;
      lanes::Floats value = bias == nullptr ? y[r][p] : lanes::add(y[r][p], added);
      if (layer.add) value = lanes::add(lanes::load_some(target, count), value);
      if (count == kPanel) {
        lanes::store(target, value);
      } else {
        lanes::store_some(target, value, count);
      }
    }
  }
}

// y of `kRows` rows from `row` and of `kPanels` panels from `panel`.
//   kOneGroup: one scale a row; spares the registers that hold y between groups
//   kOnce: no further rows read these weights, so memory sets the pace: the next tile's are fetched
template <int32_t kFormat, bool kOneGroup, bool kOnce, int kRows, int kPanels>
void int8_tile(const Int8Layer& layer, int64_t row, int64_t panel) {
  const Weight& weight = layer.weight;
  const bool has_mins = weight.mins != nullptr;
  const uint8_t* codes[kPanels];
  PanelScales scales[kPanels], mins[kPanels];
  SAGELLM_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    codes[p] = panel_codes(weight, panel + p);
    scales[p] = PanelScales(weight, weight.scales, panel + p, layer.groups);
    if (has_mins) mins[p] = PanelScales(weight, weight.mins, panel + p, layer.groups);
  }
  const int8_t* inputs[kRows];
  const RowGroup* rows[kRows];
  SAGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    inputs[r] = layer.rows + (row + r) * layer.row_stride;
    rows[r] = row_groups(inputs[r], weight.in);
  }

  const int64_t tile_bytes = kPanels * panel_bytes(kFormat, weight.in);
  const int64_t codes_ahead = tile_bytes <= kNearTile ? tile_bytes : kAheadInPanel;
  const int64_t scales_ahead = kPanels * layer.groups * scale_bytes(weight.scale_format);

  lanes::Floats y[kRows][kPanels];
  const auto clear = [&] {
    SAGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SAGELLM_UNROLL
      for (int p = 0; p < kPanels; ++p) y[r][p] = lanes::set_float(0.0f);
    }
  };
  if (!kOneGroup) clear();
  const int64_t groups = kOneGroup ? 1 : layer.groups;
  for (int64_t group = 0; group < groups; ++group) {
    lanes::Ints sums[kRows][kPanels];
    SAGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const bool offset = kFormat == kQ8 && lanes::kOffset;
      const lanes::Ints start = lanes::set_int(offset ? rows[r][group].offset : 0);
      SAGELLM_UNROLL
      for (int p = 0; p < kPanels; ++p) sums[r][p] = start;
    }
    accumulate<kFormat, kOnce, kRows, kPanels>(sums, codes, inputs, group * layer.group_steps,
                                               layer.group_steps, codes_ahead);
    SAGELLM_UNROLL
    for (int p = 0; kOnce && p < kPanels; ++p) {
      fetch_ahead(scales[p].at(group), scales_ahead);
      if (has_mins) fetch_ahead(mins[p].at(group), scales_ahead);
    }
    if (kOneGroup) clear();
    scale_group<kRows, kPanels>(y, sums, rows, scales, mins, has_mins, group);
  }
  write_tile<kRows, kPanels>(layer, y, row, panel);
}

}  // namespace sagellm
