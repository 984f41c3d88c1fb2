// linear(), pack() and unpack_row(): the kernels of a weight's format and arithmetic.

#include "linear.h"

#include "floats_layout.h"
#include "linear_kernels.h"

namespace sagellm {

void linear(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
            int thread, int threads) {
  if (weight.arithmetic == kInt8) {
    linear_int8(weight, rows, y, ldy, output, thread, threads);
  } else if (rows.rows <= few_rows(weight.format)) {
    linear_float_few(weight, rows, y, ldy, output, thread, threads);
  } else {
    linear_float_many(weight, rows, y, ldy, output, thread, threads);
  }
}

void unpack_row(const Weight& weight, int64_t row, float* dst) {
  if (is_float_format(weight.format)) {
    unpack_floats_row(weight, row, dst);
  } else {
    unpack_codes_row(weight, row, dst);
  }
}

size_t packed_data_bytes(int32_t format, int64_t out, int64_t in, int64_t) {
  return is_float_format(format) ? float_data_bytes(format, out, in)
                                 : code_data_bytes(format, out, in);
}

size_t packed_scale_count(int32_t format, int64_t out, int64_t in, int64_t group) {
  return is_float_format(format) ? 0 : code_scale_count(out, in, group);
}

void pack(int32_t format, int32_t scale_format, int64_t out, int64_t in, int64_t group,
          int64_t first, int64_t count, const void* source, const void* scales, const void* mins,
          void* packed_data, void* packed_scales, void* packed_mins) {
  if (is_float_format(format)) {
    pack_floats(format, out, in, first, count, source, packed_data);
  } else {
    pack_codes(format, scale_format, out, in, group, first, count, source, scales, mins,
               packed_data, packed_scales, packed_mins);
  }
}

}  // namespace sagellm
