// Lays weights of floats out in panels, and reads them back.

#include "floats_layout.h"
#include "half.h"
#include "linear_kernels.h"

namespace sagellm {
namespace {

template <class Number>
void pack_rows(int64_t out, int64_t in, int64_t first, int64_t count, const Number* source,
               Number* packed) {
  for (int64_t row = 0; row < count; ++row) {
    Number* const lane = packed + number_index(first + row, in);
    for (int64_t k = 0; k < in; ++k) lane[k * kPanel] = source[row * in + k];
  }
  if (first + count != out) return;
  for (int64_t output = out; output < panels_of(out) * kPanel; ++output) {
    Number* const lane = packed + number_index(output, in);
    for (int64_t k = 0; k < in; ++k) lane[k * kPanel] = 0;
  }
}

}  // namespace

size_t float_data_bytes(int32_t format, int64_t out, int64_t in) {
  return static_cast<size_t>(panels_of(out) * kPanel * in * number_bytes(format));
}

void pack_floats(int32_t format, int64_t out, int64_t in, int64_t first, int64_t count,
                 const void* source, void* packed_data) {
  if (format == kF32) {
    pack_rows(out, in, first, count, static_cast<const float*>(source),
              static_cast<float*>(packed_data));
  } else {
    pack_rows(out, in, first, count, static_cast<const uint16_t*>(source),
              static_cast<uint16_t*>(packed_data));
  }
}

void unpack_floats_row(const Weight& weight, int64_t row, float* dst) {
  const int64_t first = number_index(row, weight.in);
  if (weight.format == kF32) {
    const auto* const numbers = static_cast<const float*>(weight.data) + first;
    for (int64_t k = 0; k < weight.in; ++k) dst[k] = numbers[k * kPanel];
    return;
  }
  const auto* const numbers = static_cast<const uint16_t*>(weight.data) + first;
  for (int64_t k = 0; k < weight.in; ++k) {
    const uint16_t bits = numbers[k * kPanel];
    dst[k] = weight.format == kF16 ? widen_half(bits) : widen_bfloat(bits);
  }
}

}  // namespace sagellm
