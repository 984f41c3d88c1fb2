// Linear layers in float arithmetic for many rows: weights that are no floats are widened, part of
// a panel at a time, into a buffer that stays in the first-level cache while rows pass by.

#include <algorithm>

#include "code_widening.h"
#include "float_tile.h"
#include "linear_kernels.h"

namespace sagellm {
namespace {

constexpr int kRows = lanes::kTallRows;
constexpr int kPanels = lanes::kWide;

// Inputs widened at a time, at most: a multiple of all steps.
constexpr int64_t kBlockInputs = 768;
constexpr int64_t kStepInputs = 8;
// Rows whose sums are kept between blocks of inputs.
constexpr int64_t kBlockRows = 192;

struct Buffers {
  float weights[kPanels][kBlockInputs * kPanel];
  float sums[kBlockRows][kPanels * kPanel];
};

// Block of inputs [begin, end) of a layer whose inputs are all of [0, in).
struct Block {
  int64_t begin, end;
  bool first, last;
};

// What a tile asks memory for while it computes: a line of each stream for every input.
template <int kStreams>
struct Ahead {
  const uint8_t* streams[kStreams > 0 ? kStreams : 1];
  int64_t step;  // bytes
};

// Bytes of one input of a panel.
int64_t input_bytes(int32_t format) {
  return is_float_format(format) ? kPanel * number_bytes(format)
                                 : kStepBytes / step_inputs(format);
}

// The weights that follow a block: those of the next block, or of the first one of the next panels.
// A tile that is alone asks for all kWidth panels; else each of the first tiles for one, as what is
// asked for takes time from the multiplications.
template <int kStreams, int kWidth>
Ahead<kStreams> ahead_of(const Weight& weight, int64_t panel, const Block& block, int64_t tile) {
  const int64_t bytes = input_bytes(weight.format);
  const int64_t stride = is_float_format(weight.format) ? weight.in * bytes
                                                        : panel_bytes(weight.format, weight.in);
  const auto* const data = static_cast<const uint8_t*>(weight.data);
  Ahead<kStreams> ahead = {{}, bytes};
  for (int s = 0; s < kStreams; ++s) {
    const int64_t mine = kStreams == kWidth ? s : tile;
    ahead.streams[s] = block.last ? data + (panel + kWidth + mine) * stride
                                  : data + (panel + mine) * stride + block.end * bytes;
  }
  return ahead;
}

template <int32_t kFormat>
void widen_numbers(const Weight& weight, int64_t panel, const Block& block, float* dst) {
  const auto* const numbers =
      static_cast<const uint16_t*>(weight.data) + panel * weight.in * kPanel;
  for (int64_t k = block.begin; k < block.end; ++k, dst += kPanel) {
    lanes::store(dst, load_numbers<kFormat>(numbers, k));
  }
}

template <int32_t kFormat>
void widen_codes(const Weight& weight, int64_t panel, const Block& block, float* dst) {
  constexpr int64_t kStep = step_inputs(kFormat);
  const int64_t group_count = groups_of(weight.in, weight.group);
  const uint8_t* codes = panel_codes(weight, panel) + block.begin / kStep * kStepBytes;
  for (int64_t k = block.begin; k < block.end;) {
    const int64_t g = k / weight.group;
    const int64_t end = std::min((g + 1) * weight.group, block.end);
    const GroupScale group = group_scale<kFormat>(weight, panel, group_count, g);
    for (; k < end; k += kStep, codes += kStepBytes, dst += kStep * kPanel) {
      widen_step<kFormat>(lanes::load_codes(codes), group, dst);
    }
  }
}

// Where the block's weights of a panel are, as floats.
const float* panel_block(const Weight& weight, int64_t panel, const Block& block, float* buffer) {
  switch (weight.format) {
    case kF32:
      return static_cast<const float*>(weight.data) + (panel * weight.in + block.begin) * kPanel;
    case kF16: widen_numbers<kF16>(weight, panel, block, buffer); break;
    case kBF16: widen_numbers<kBF16>(weight, panel, block, buffer); break;
    case kQ8: widen_codes<kQ8>(weight, panel, block, buffer); break;
    default: widen_codes<kQ4>(weight, panel, block, buffer); break;
  }
  return buffer;
}

// `rows` rows from `row`, kHeight at most, times the panels from `panel`.
//   kept: sums of these rows, of the blocks before and for those after
// A function of its own: among the variables of its callers, addresses of rows lose their registers.
template <int kHeight, int kWidth, int kStreams>
[[gnu::noinline]] void tile(const FloatLayer& layer, const float* const (&weights)[kWidth],
                            const Block& block, const Ahead<kStreams>& ahead, int64_t row,
                            int64_t rows, int64_t panel, float (*kept)[kPanels * kPanel]) {
  const float* x[kHeight];
  point_at_rows<kHeight>(layer, row, rows, x);
  Sums<kHeight, kWidth> sums;
  if (block.first) {
    clear<kHeight, kWidth>(sums);
  } else {
    for (int r = 0; r < kHeight; ++r) {
      for (int p = 0; p < kWidth; ++p) sums[r][p] = lanes::load(kept[r < rows ? r : 0] + p * kPanel);
    }
  }
  for (int r = 0; r < kHeight; ++r) {
    x[r] += block.begin;
    // What is written in the end is asked for now: y is often larger than the caches.
    if (block.last && r < rows) {
      for (int p = 0; p < kWidth; ++p) {
        lanes::prefetch_to_write(layer.y + (row + r) * layer.ldy + (panel + p) * kPanel);
      }
    }
  }
  for (int64_t k = 0; k < block.end - block.begin; ++k) {
    lanes::Floats numbers[kWidth];
    for (int s = 0; s < kStreams; ++s) lanes::prefetch(ahead.streams[s] + k * ahead.step);
    for (int p = 0; p < kWidth; ++p) numbers[p] = lanes::load(weights[p] + k * kPanel);
    add_products<kHeight, kWidth>(sums, numbers, x, k);
  }
  if (block.last) return write_sums<kHeight, kWidth>(layer, sums, row, rows, panel);
  for (int r = 0; r < kHeight; ++r) {
    if (r >= rows) break;
    for (int p = 0; p < kWidth; ++p) lanes::store(kept[r] + p * kPanel, sums[r][p]);
  }
}

// Tiles have even heights: the one that fits `rows`.
template <int kHeight, int kWidth, int kStreams>
void tile_of_rows(const FloatLayer& layer, const float* const (&weights)[kWidth],
                  const Block& block, const Ahead<kStreams>& ahead, int64_t row, int64_t rows,
                  int64_t panel, float (*kept)[kPanels * kPanel]) {
  if constexpr (kHeight > 2) {
    if (rows <= kHeight - 2) {
      return tile_of_rows<kHeight - 2, kWidth, kStreams>(layer, weights, block, ahead, row, rows,
                                                         panel, kept);
    }
  }
  tile<kHeight, kWidth, kStreams>(layer, weights, block, ahead, row, rows, panel, kept);
}

// All inputs of `rows` rows from `first`, times kWidth panels.
template <int kWidth>
void panels_of_rows(const FloatLayer& layer, int64_t first, int64_t rows, int64_t panel,
                    Buffers& buffers) {
  const int64_t in = layer.weight.in;
  const int64_t pairs = ceil_div(rows, 2);
  const int64_t tiles = ceil_div(pairs, kRows / 2);
  const int64_t blocks = ceil_div(in, kBlockInputs);
  const int64_t block_inputs = ceil_div(ceil_div(in, blocks), kStepInputs) * kStepInputs;
  for (int64_t begin = 0; begin < in; begin += block_inputs) {
    const int64_t end = std::min(begin + block_inputs, in);
    const Block block = {begin, end, begin == 0, end == in};
    const float* weights[kWidth];
    for (int p = 0; p < kWidth; ++p) {
      weights[p] = panel_block(layer.weight, panel + p, block, buffers.weights[p]);
    }
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = 2 * (pairs * t / tiles);
      const int64_t next = std::min(2 * (pairs * (t + 1) / tiles), rows);
      const auto compute = [&](const auto& ahead) {
        tile_of_rows<kRows, kWidth>(layer, weights, block, ahead, first + row, next - row, panel,
                                    buffers.sums + row);
      };
      if (tiles == 1) {
        compute(ahead_of<kWidth, kWidth>(layer.weight, panel, block, t));
      } else if (t < kWidth) {
        compute(ahead_of<1, kWidth>(layer.weight, panel, block, t));
      } else {
        compute(Ahead<0>{});
      }
    }
  }
}

}  // namespace

void linear_float_many(const Weight& weight, const Rows& rows, float* y, int64_t ldy,
                       Output output, int thread, int threads) {
  alignas(64) static thread_local Buffers buffers;
  const FloatLayer layer = {weight, rows.x, rows.ld, y, ldy, output == kAdd};
  const int64_t panels = panels_of(weight.out);
  const int64_t last_panel = panels * (thread + 1) / threads;
  for (int64_t row = 0; row < rows.rows; row += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows.rows - row);
    int64_t panel = panels * thread / threads;
    for (; panel + kPanels <= last_panel; panel += kPanels) {
      panels_of_rows<kPanels>(layer, row, count, panel, buffers);
    }
    if constexpr (kPanels > 2) {
      for (; panel + 2 <= last_panel; panel += 2) {
        panels_of_rows<2>(layer, row, count, panel, buffers);
      }
    }
    if constexpr (kPanels > 1) {
      for (; panel < last_panel; ++panel) panels_of_rows<1>(layer, row, count, panel, buffers);
    }
  }
}

}  // namespace sagellm
