// What quantise_row() writes and the int8 kernels read.
//
// A row is [codes: int8, `in` of them, zeros up to a multiple of 64][RowGroup for each group], and
// the next one begins at the next multiple of 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codes_layout.h"

namespace sagellm {

struct RowGroup {
  float scale;         // input = scale * code; NaN where the group held a NaN or an infinity
  float weighted_sum;  // scale * sum of the codes: what a weight's minimum is multiplied by
  int32_t offset;      // -128 * sum of the codes: undoes the 128 that is in the bytes of kQ8
};

inline constexpr int64_t padded_inputs(int64_t in) { return ceil_div(in, 64) * 64; }

// Bytes from one row to the next.
inline constexpr int64_t quantised_stride(int64_t in, int64_t group) {
  return padded_inputs(in) +
         ceil_div(groups_of(in, group) * static_cast<int64_t>(sizeof(RowGroup)), 64) * 64;
}

inline const RowGroup* row_groups(const int8_t* row, int64_t in) {
  return reinterpret_cast<const RowGroup*>(row + padded_inputs(in));
}

}  // namespace sagellm
