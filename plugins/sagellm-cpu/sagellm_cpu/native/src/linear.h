// Linear layers over weights that were packed once for the processor's vector units.
//
// Every function that takes a thread's number is called by all threads of the pool inside
// Pool::run(), does that thread's share and returns without waiting for the others: who needs all
// of the result calls Pool::barrier() first. Shares are split along the outputs, never along the
// inputs, and every output sums its inputs in one fixed order: a row's result does not depend on
// how many rows or threads there are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sagellm {

// How weights are stored. What a number means is the same in all of them: w = scale * code + min,
// with one scale (and minimum) for `group` inputs of one output.
enum Format : int32_t {
  kF32 = 0,   // floats
  kF16 = 1,   // IEEE half precision, widened in registers
  kBF16 = 2,  // bfloat16, likewise
  kQ8 = 3,    // signed 8-bit codes, -127..127 (-128 occurs in files and must be right too)
  kQ4 = 4,    // unsigned 4-bit codes, 0..15
};

// What inputs are multiplied in.
enum Arithmetic : int32_t {
  kFloat = 0,  // float inputs times widened weights, summed in float32
  kInt8 = 1,   // inputs rounded to int8 (one scale per row and group), summed in int32 per group
               // (a group has at most 131,072 inputs)
};

// A packed weight; plain data, shared with Python through ctypes. Nothing here owns memory.
struct Weight {
  int32_t format;
  int32_t arithmetic;
  int32_t scale_format;  // of scales and mins: kF32 or kF16
  int64_t out;
  int64_t in;
  int64_t group;        // inputs per scale; `in` for one scale a row. Unused by floats.
  const void* data;    // in the layout of its format: see pack()
  const void* scales;  // in the layout of its format; null for floats
  const void* mins;    // likewise; null where every minimum is zero
  const float* bias;   // [out], or null
};

// Inputs of a linear layer. Float arithmetic reads x; int8 arithmetic reads what quantise_row()
// made of it. The buffers are the caller's, sized by quantised_bytes().
struct Rows {
  const float* x;   // [rows, ld]
  int64_t ld;       // distance between rows, at least `in`
  int64_t rows;
  void* quantised;  // null where no layer over these rows computes in int8
};

// Bytes that quantise_row() needs for `rows` rows of `in` inputs (aligned to 64).
size_t quantised_bytes(int64_t rows, int64_t in, int64_t group);

// Rounds one row to int8, to nearest even, by the largest absolute value of each group: scale =
// largest / 127. Keeps per group the scale, the codes and their sum. A group of zeros has scale 0.
// Rows are independent: each thread may take some.
//   quantised: buffer of quantised_bytes(rows, in, group); row: which of `rows` this is
void quantise_row(const float* x, int64_t in, int64_t group, int64_t row, int64_t rows,
                  void* quantised);

// What linear() does with a product.
enum Output : int32_t {
  kStore = 0,  // y  = x w^T + bias
  kAdd = 1,    // y += x w^T + bias
};

// This thread's share of y[r][o] = sum_k x[r][k] w[o][k] + bias[o].
//   y: [rows, ldy] floats; thread < threads
void linear(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
            int thread, int threads);

// One row of a packed weight as floats: the embedding of a token where input and output layer are
// tied. dst: [in].
void unpack_row(const Weight& weight, int64_t row, float* dst);

// --- packing ---------------------------------------------------------------------------------

// Bytes of data, and number of scales (and, where there are any, of mins), of a packed weight.
size_t packed_data_bytes(int32_t format, int64_t out, int64_t in, int64_t group);
size_t packed_scale_count(int32_t format, int64_t out, int64_t in, int64_t group);

// Packs a weight that lies row by row. `first` and `count` say which outputs these rows are, so
// that q, k and v (or gate and up) are packed into one weight without being concatenated first;
// outputs that are padding are zeroed by whoever packs the last rows.
//   source: [count, in] of float, uint16 (kF16, kBF16), int8 (kQ8), or uint8 [count, in / 2] with
//           the even input in the low half (kQ4)
//   scales, mins: [count, in / group] of `scale_format`; null for floats, mins null where there are
//           none
void pack(int32_t format, int32_t scale_format, int64_t out, int64_t in, int64_t group,
          int64_t first, int64_t count, const void* source, const void* scales, const void* mins,
          void* packed_data, void* packed_scales, void* packed_mins);

}  // namespace sagellm
