// Linear layers over many rows rounded to int8, by instructions that multiply matrices of bytes.
//
// The codes of a panel are laid out for them once for a block of rows. What they give are the sums
// of groups, which are integers; scales are applied as in int8_tile.h, in the same order, so that
// results are the same bits.

#include "linear_int8_matrix.h"

#if defined(SAGELLM_MATRIX_UNIT)

#include <algorithm>
#include <new>

#include "buffer.h"
#include "group_scales.h"

namespace sagellm {
namespace {

using matrix::kRows;

// Scales of the rows of a tile, [groups][kRows], and what minimums are multiplied by.
struct TileScales {
  const float* scales;
  const float* weighted_sums;
};

// What a thread works in.
class Workspace {
 public:
  // Throws std::bad_alloc.
  void reserve(const Int8Layer& layer, const matrix::Shape& shape, int64_t tiles) {
    codes_.reserve(static_cast<size_t>(layer.groups * shape.group_bytes()));
    tile_scales_ = layer.groups * kRows;
    scales_.reserve_floats(2 * tiles * tile_scales_);
  }

  int8_t* codes() const { return static_cast<int8_t*>(codes_.bytes()); }

  // Collects what lies row by row in one place for a tile.
  void collect(const Int8Layer& layer, int64_t tile, int64_t row) {
    float* const scales = scales_.floats() + 2 * tile * tile_scales_;
    float* const weighted_sums = scales + tile_scales_;
    for (int r = 0; r < kRows; ++r) {
      const RowGroup* const groups =
          row_groups(layer.rows + (row + r) * layer.row_stride, layer.weight.in);
      for (int64_t g = 0; g < layer.groups; ++g) {
        scales[g * kRows + r] = groups[g].scale;
        weighted_sums[g * kRows + r] = groups[g].weighted_sum;
      }
    }
  }
  TileScales collected(int64_t tile) const {
    const float* const scales = scales_.floats() + 2 * tile * tile_scales_;
    return {scales, scales + tile_scales_};
  }

 private:
  Buffer codes_, scales_;
  int64_t tile_scales_ = 0;
};

// The step of scale_group() for one panel and the rows of a tile.
inline void add_group(lanes::Floats (&y)[kRows], const lanes::Ints (&sums)[kRows],
                      const TileScales& rows, const PanelScales& scales, const PanelScales* mins,
                      int64_t group) {
  const lanes::Floats scale = scales.load(group);
  const float* const row_scales = rows.scales + group * kRows;
  SAGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const lanes::Floats both = lanes::mul(scale, lanes::set_float(row_scales[r]));
    y[r] = lanes::fma(lanes::to_float(sums[r]), both, y[r]);
  }
  if (mins == nullptr) return;
  const lanes::Floats minimum = mins->load(group);
  const float* const weighted_sums = rows.weighted_sums + group * kRows;
  SAGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    y[r] = lanes::fma(minimum, lanes::set_float(weighted_sums[r]), y[r]);
  }
}

// y of the rows from `row` on and of one panel. The first `done` of them have been computed before:
// they are in the tile because it is never smaller.
void tile(const Int8Layer& layer, const matrix::Shape& shape, const int8_t* codes,
          const TileScales& rows, int64_t row, int64_t done, int64_t panel) {
  const Weight& weight = layer.weight;
  const PanelScales scales(weight, weight.scales, panel, layer.groups);
  PanelScales mins;
  const bool has_mins = weight.mins != nullptr;
  if (has_mins) mins = PanelScales(weight, weight.mins, panel, layer.groups);
  const int8_t* const inputs = layer.rows + row * layer.row_stride;

  lanes::Floats y[kRows];
  SAGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) y[r] = lanes::set_float(0.0f);
  for (int64_t group = 0; group < layer.groups; group += matrix::kAtOnce) {
    alignas(64) matrix::Sums sums;
    const int64_t count = std::min<int64_t>(matrix::kAtOnce, layer.groups - group);
    matrix::products(sums, inputs + group * shape.group_inputs(), layer.row_stride,
                     codes + group * shape.group_bytes(), shape, count);
    for (int64_t i = 0; i < count; ++i) {
      add_group(y, sums[i], rows, scales, has_mins ? &mins : nullptr, group + i);
    }
  }

  // Through memory: above, y is in registers because no index depends on a variable.
  lanes::Floats all[kRows];
  SAGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) all[r] = y[r];
  for (int64_t r = done; r < kRows; ++r) {
    const lanes::Floats one[1][1] = {{all[r]}};
    write_tile<1, 1>(layer, one, row + r, panel);
  }
}

template <int32_t kFormat>
void expand_panel(const Int8Layer& layer, const matrix::Shape& shape, int64_t panel,
                  int8_t* target) {
  const uint8_t* const codes = panel_codes(layer.weight, panel);
  const int64_t bytes = panel_bytes(kFormat, layer.weight.in);
  // While this panel is multiplied, the next one arrives.
  const int64_t ahead = bytes <= kNearTile ? bytes : kAheadInPanel;
  for (int64_t group = 0; group < layer.groups; ++group) {
    matrix::expand<kFormat>(codes + group * layer.group_steps * kStepBytes, layer.group_steps,
                            shape, target + group * shape.group_bytes(), ahead);
  }
}

// Row of a tile's beginning: the last one lies over the one before, where rows are no multiple.
int64_t begin_of(int64_t tile, int64_t rows) { return std::min(tile * kRows, rows - kRows); }

template <int32_t kFormat>
void all_panels(const Int8Layer& layer, const matrix::Shape& shape, int64_t rows, int64_t block,
                Workspace& workspace, int thread, int threads) {
  const int64_t panels = panels_of(layer.weight.out);
  const int64_t first_panel = panels * thread / threads;
  const int64_t last_panel = panels * (thread + 1) / threads;
  const int64_t tiles = ceil_div(rows, kRows);
  const matrix::Unit unit(shape);
  for (int64_t first = 0; first < tiles; first += block) {
    const int64_t last = std::min(first + block, tiles);
    for (int64_t t = first; t < last; ++t) {
      workspace.collect(layer, t - first, begin_of(t, rows));
    }
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      expand_panel<kFormat>(layer, shape, panel, workspace.codes());
      for (int64_t t = first; t < last; ++t) {
        const int64_t begin = begin_of(t, rows);
        tile(layer, shape, workspace.codes(), workspace.collected(t - first), begin,
             t * kRows - begin, panel);
      }
    }
  }
}

}  // namespace

const char* matrix_instructions() { return matrix::usable() ? matrix::kName : ""; }

bool linear_int8_matrix(const Int8Layer& layer, int64_t rows, int thread, int threads) {
  if (rows < matrix::kFewest || !matrix::usable()) return false;
  const matrix::Shape shape(layer.group_steps * step_inputs(layer.weight.format) / 4);
  const int64_t block = std::max<int64_t>(matrix::kBlockBytes / (kRows * layer.row_stride), 1);
  thread_local Workspace workspace;
  try {
    workspace.reserve(layer, shape, std::min(block, ceil_div(rows, kRows)));
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (layer.weight.format == kQ8) {
    all_panels<kQ8>(layer, shape, rows, block, workspace, thread, threads);
  } else {
    all_panels<kQ4>(layer, shape, rows, block, workspace, thread, threads);
  }
  return true;
}

}  // namespace sagellm

#endif
