// Linear layers of kQ8 and kQ4 weights over inputs rounded to int8: which tiles, in which order.

#include <algorithm>

#include "int8_lanes.h"
#include "int8_tile.h"
#include "linear_int8_matrix.h"
#include "linear_kernels.h"

namespace sagellm {
namespace {

// Inputs of a block of rows stay in the second-level cache while panels pass by.
constexpr int64_t kBlockBytes = 384 * 1024;

// Calls the tile of `rows` rows, which is between 1 and kRows.
template <int32_t kFormat, bool kOneGroup, bool kOnce, int kRows, int kPanels>
void tile_of_rows(const Int8Layer& layer, int64_t row, int64_t panel, int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      return tile_of_rows<kFormat, kOneGroup, kOnce, kRows - 1, kPanels>(layer, row, panel, rows);
    }
  }
  int8_tile<kFormat, kOneGroup, kOnce, kRows, kPanels>(layer, row, panel);
}

// Rows of a block in tiles of nearly equal height: 8 rows are 4 and 4, not 6 and 2.
template <int32_t kFormat, bool kOneGroup, bool kOnce, int kRows, int kPanels>
void column_of_tiles(const Int8Layer& layer, int64_t first, int64_t rows, int64_t panel) {
  const int64_t tiles = ceil_div(rows, kRows);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t begin = rows * tile / tiles;
    const int64_t end = rows * (tile + 1) / tiles;
    tile_of_rows<kFormat, kOneGroup, kOnce, kRows, kPanels>(layer, first + begin, panel,
                                                     static_cast<int>(end - begin));
  }
}

template <int32_t kFormat, bool kOneGroup, bool kOnce, int kRows, int kPanels>
void all_tiles(const Int8Layer& layer, int64_t rows, int thread, int threads) {
  const int64_t panels = panels_of(layer.weight.out);
  const int64_t first_panel = panels * thread / threads;
  const int64_t last_panel = panels * (thread + 1) / threads;
  const int64_t block = std::max<int64_t>(kBlockBytes / layer.row_stride, 4 * kRows);
  for (int64_t row = 0; row < rows; row += block) {
    const int64_t count = std::min(block, rows - row);
    int64_t panel = first_panel;
    for (; panel + kPanels <= last_panel; panel += kPanels) {
      column_of_tiles<kFormat, kOneGroup, kOnce, kRows, kPanels>(layer, row, count, panel);
    }
    for (; panel < last_panel; ++panel) {
      column_of_tiles<kFormat, kOneGroup, kOnce, kRows, 1>(layer, row, count, panel);
    }
  }
}

template <int32_t kFormat, bool kOneGroup, int kRows, int kPanels>
void all_rows(const Int8Layer& layer, int64_t rows, int thread, int threads) {
  if (rows <= kRows) {
    all_tiles<kFormat, kOneGroup, true, kRows, kPanels>(layer, rows, thread, threads);
  } else {
    all_tiles<kFormat, kOneGroup, false, kRows, kPanels>(layer, rows, thread, threads);
  }
}

template <int32_t kFormat>
void linear_int8_of(const Int8Layer& layer, int64_t rows, int thread, int threads) {
  using namespace lanes;
  if (layer.groups == 1) {
    all_rows<kFormat, true, kRowsOneScale, kPanelsOneScale>(layer, rows, thread, threads);
  } else {
    all_rows<kFormat, false, kRowsGroups, kPanelsGroups>(layer, rows, thread, threads);
  }
}

}  // namespace

void linear_int8(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
                 int thread, int threads) {
  const int64_t groups = groups_of(weight.in, weight.group);
  const int64_t group_steps = groups == 1 ? steps_of(weight.format, weight.in)
                                          : weight.group / step_inputs(weight.format);
  const Int8Layer layer = {weight,
                           static_cast<const int8_t*>(rows.quantised),
                           quantised_stride(weight.in, weight.group),
                           groups,
                           group_steps,
                           y,
                           ldy,
                           output == kAdd};
  if (linear_int8_matrix(layer, rows.rows, thread, threads)) return;
  if (weight.format == kQ8) {
    linear_int8_of<kQ8>(layer, rows.rows, thread, threads);
  } else {
    linear_int8_of<kQ4>(layer, rows.rows, thread, threads);
  }
}

}  // namespace sagellm
