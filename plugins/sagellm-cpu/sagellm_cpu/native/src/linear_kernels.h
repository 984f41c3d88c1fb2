// The kernels that linear(), pack() and unpack_row() choose among by format and arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "linear.h"

namespace sagellm {

// --- weights of codes (kQ8, kQ4): layout in codes_layout.h -------------------------------------

size_t code_data_bytes(int32_t format, int64_t out, int64_t in);
size_t code_scale_count(int64_t out, int64_t in, int64_t group);
void pack_codes(int32_t format, int32_t scale_format, int64_t out, int64_t in, int64_t group,
                int64_t first, int64_t count, const void* source, const void* scales,
                const void* mins, void* packed_data, void* packed_scales, void* packed_mins);
void unpack_codes_row(const Weight& weight, int64_t row, float* dst);

// linear() in kInt8 arithmetic over what quantise_row() made of the rows.
void linear_int8(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
                 int thread, int threads);

// --- weights of floats (kF32, kF16, kBF16): layout in floats_layout.h --------------------------

size_t float_data_bytes(int32_t format, int64_t out, int64_t in);
void pack_floats(int32_t format, int64_t out, int64_t in, int64_t first, int64_t count,
                 const void* source, void* packed_data);
void unpack_floats_row(const Weight& weight, int64_t row, float* dst);

// linear() in kFloat arithmetic, weights of any format. The first is for up to few_rows(format) rows
// and widens weights in registers; the second, for any number, widens part of a panel into a buffer.
// Both give the same bits.
int few_rows(int32_t format);
void linear_float_few(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
                      int thread, int threads);
void linear_float_many(const Weight& weight, const Rows& rows, float* y, int64_t ldy,
                       Output output, int thread, int threads);

}  // namespace sagellm
