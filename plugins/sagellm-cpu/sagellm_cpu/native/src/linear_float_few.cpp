// Linear layers in float arithmetic for few rows: weights are read once and widened in registers.

#include <algorithm>

#include "code_widening.h"
#include "float_tile.h"
#include "linear_kernels.h"

namespace sagellm {
namespace {

// How far ahead of their use weights (of all panels of a tile) and scales (of each) are asked for,
// in bytes.
constexpr int64_t kAhead = 8192;
constexpr int64_t kScalesAhead = 384;

// How far for one panel, where `size` is that of a panel: towards its end, what is asked for is the
// beginning of the one that is `panels` further.
inline int64_t reach(int64_t ahead, int64_t offset, int64_t size, int panels) {
  return offset + ahead < size ? ahead : ahead + (panels - 1) * size;
}

// Sums that a loop adds to are its own, and copied when it is done: behind a reference they would
// be written to memory after every addition.
template <int kRows, int kPanels>
inline void copy(const Sums<kRows, kPanels>& from, Sums<kRows, kPanels>& to) {
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) to[r][p] = from[r][p];
  }
}

template <int32_t kFormat, int kRows, int kPanels>
void add_floats(const FloatLayer& layer, int64_t panel, const float* const (&x)[kRows],
                Sums<kRows, kPanels>& all) {
  Sums<kRows, kPanels> sums;
  clear<kRows, kPanels>(sums);
  const int64_t in = layer.weight.in;
  const int64_t row_bytes = kPanel * number_bytes(kFormat);
  const uint8_t* numbers[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    numbers[p] = static_cast<const uint8_t*>(layer.weight.data) + (panel + p) * in * row_bytes;
  }
  for (int64_t k = 0; k < in; ++k) {
    lanes::Floats weights[kPanels];
    const int64_t offset = k * row_bytes;
    const int64_t ahead = offset + reach(kAhead / kPanels, offset, in * row_bytes, kPanels);
    for (int p = 0; p < kPanels; ++p) {
      lanes::prefetch(numbers[p] + ahead);
      weights[p] = load_numbers<kFormat>(numbers[p], k);
    }
    add_products<kRows, kPanels>(sums, weights, x, k);
  }
  copy<kRows, kPanels>(sums, all);
}

// The inputs kInput and following of one step.
template <int32_t kFormat, int kInput, int kRows, int kPanels>
inline void add_step(const lanes::Bytes (&bytes)[kPanels], const GroupScale (&groups)[kPanels],
                     const float* const (&x)[kRows], int64_t k, Sums<kRows, kPanels>& sums) {
  if constexpr (kInput < step_inputs(kFormat)) {
    lanes::Floats weights[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      weights[p] = widen_code<kFormat, kInput>(bytes[p], groups[p]);
    }
    add_products<kRows, kPanels>(sums, weights, x, k + kInput);
    add_step<kFormat, kInput + 1, kRows, kPanels>(bytes, groups, x, k, sums);
  }
}

// The inputs from k on, fewer than a step has, of the last group.
template <int32_t kFormat, int kRows, int kPanels>
void add_part_of_step(const Weight& weight, int64_t panel, const float* const (&x)[kRows],
                      int64_t k, Sums<kRows, kPanels>& sums) {
  const int64_t group_count = groups_of(weight.in, weight.group);
  float widened[kPanels][step_inputs(kFormat) * kPanel];
  for (int p = 0; p < kPanels; ++p) {
    const uint8_t* const codes =
        panel_codes(weight, panel + p) + k / step_inputs(kFormat) * kStepBytes;
    widen_step<kFormat>(lanes::load_codes(codes),
                        group_scale<kFormat>(weight, panel + p, group_count, group_count - 1),
                        widened[p]);
  }
  for (int64_t first = k; k < weight.in; ++k) {
    lanes::Floats weights[kPanels];
    for (int p = 0; p < kPanels; ++p) weights[p] = load_numbers<kF32>(widened[p], k - first);
    add_products<kRows, kPanels>(sums, weights, x, k);
  }
}

template <int32_t kFormat, int kRows, int kPanels>
void add_codes(const FloatLayer& layer, int64_t panel, const float* const (&x)[kRows],
               Sums<kRows, kPanels>& all) {
  constexpr int64_t kStep = step_inputs(kFormat);
  const Weight& weight = layer.weight;
  const int64_t group_count = groups_of(weight.in, weight.group);
  const int64_t whole = weight.in / kStep * kStep;
  const int64_t panel_size = panel_bytes(kFormat, weight.in);
  const int64_t group_bytes = scale_bytes(weight.scale_format);
  const uint8_t* codes[kPanels];
  for (int p = 0; p < kPanels; ++p) codes[p] = panel_codes(weight, panel + p);
  Sums<kRows, kPanels> sums;
  clear<kRows, kPanels>(sums);
  for (int64_t g = 0; g < group_count; ++g) {
    GroupScale groups[kPanels];
    const int64_t scales_ahead = reach(kScalesAhead, g * group_bytes, group_count * group_bytes,
                                       kPanels);
    for (int p = 0; p < kPanels; ++p) {
      prefetch_scale(weight, panel + p, group_count, g, scales_ahead);
      groups[p] = group_scale<kFormat>(weight, panel + p, group_count, g);
    }
    const int64_t end = std::min((g + 1) * weight.group, whole);
    for (int64_t k = g * weight.group; k < end; k += kStep) {
      lanes::Bytes bytes[kPanels];
      const int64_t offset = k / kStep * kStepBytes;
      const int64_t ahead = offset + reach(kAhead / kPanels, offset, panel_size, kPanels);
      for (int p = 0; p < kPanels; ++p) {
        lanes::prefetch(codes[p] + ahead);
        bytes[p] = lanes::load_codes(codes[p] + offset);
      }
      add_step<kFormat, 0, kRows, kPanels>(bytes, groups, x, k, sums);
    }
  }
  copy<kRows, kPanels>(sums, all);
  if (whole < weight.in) {
    add_part_of_step<kFormat, kRows, kPanels>(weight, panel, x, whole, all);
  }
}

template <int32_t kFormat, int kRows, int kPanels>
void tile(const FloatLayer& layer, int64_t rows, int64_t panel) {
  const float* x[kRows];
  point_at_rows<kRows>(layer, 0, rows, x);
  Sums<kRows, kPanels> sums;
  if constexpr (is_float_format(kFormat)) {
    add_floats<kFormat, kRows, kPanels>(layer, panel, x, sums);
  } else {
    add_codes<kFormat, kRows, kPanels>(layer, panel, x, sums);
  }
  write_sums<kRows, kPanels>(layer, sums, 0, rows, panel);
}

template <int32_t kFormat, int kRows>
void all_tiles(const FloatLayer& layer, int64_t rows, int thread, int threads) {
  constexpr int kPanels = lanes::few_panels(kRows);
  const int64_t panels = panels_of(layer.weight.out);
  const int64_t last = panels * (thread + 1) / threads;
  int64_t panel = panels * thread / threads;
  for (; panel + kPanels <= last; panel += kPanels) {
    tile<kFormat, kRows, kPanels>(layer, rows, panel);
  }
  if constexpr (kPanels > 2) {
    for (; panel + 2 <= last; panel += 2) tile<kFormat, kRows, 2>(layer, rows, panel);
  }
  for (; panel < last; ++panel) tile<kFormat, kRows, 1>(layer, rows, panel);
}

// Rows of the tallest tile. Where nothing has to be widened, the other kernel is as good from fewer
// rows on; where something has, two passes over the weights are no better than a buffer either (on
// Zen 4: with 10 rows a sixth slower, with 16 equal).
constexpr int tallest(int32_t format) {
  return format == kF32 ? lanes::kFewRows / 2 : lanes::kFewRows;
}

// Tiles exist for 1, 2, 4 and 8 rows (and 6, where there are 8).
template <int32_t kFormat>
void linear_of(const FloatLayer& layer, int64_t rows, int thread, int threads) {
  if (rows == 1) return all_tiles<kFormat, 1>(layer, rows, thread, threads);
  if constexpr (tallest(kFormat) >= 2) {
    if (rows == 2) return all_tiles<kFormat, 2>(layer, rows, thread, threads);
  }
  if constexpr (tallest(kFormat) >= 4) {
    if (rows <= 4) return all_tiles<kFormat, 4>(layer, rows, thread, threads);
  }
  if constexpr (tallest(kFormat) >= 8) {
    if (rows <= 6) return all_tiles<kFormat, 6>(layer, rows, thread, threads);
    return all_tiles<kFormat, 8>(layer, rows, thread, threads);
  }
}

}  // namespace

int few_rows(int32_t format) { return tallest(format); }

void linear_float_few(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
                      int thread, int threads) {
  const FloatLayer layer = {weight, rows.x, rows.ld, y, ldy, output == kAdd};
  switch (weight.format) {
    case kF32: return linear_of<kF32>(layer, rows.rows, thread, threads);
    case kF16: return linear_of<kF16>(layer, rows.rows, thread, threads);
    case kBF16: return linear_of<kBF16>(layer, rows.rows, thread, threads);
    case kQ8: return linear_of<kQ8>(layer, rows.rows, thread, threads);
    default: return linear_of<kQ4>(layer, rows.rows, thread, threads);
  }
}

}  // namespace sagellm
