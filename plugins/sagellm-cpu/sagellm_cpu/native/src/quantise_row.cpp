// Rounds inputs to int8, a scale for each row and group.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "linear.h"
#include "quantised_rows.h"

namespace sagellm {
namespace {

// Floats of up to 2^22 in magnitude are rounded to nearest even by adding 1.5 * 2^23: the integer
// is then in the low bits. Compilers vectorise this, as they do not rintf().
constexpr float kRounder = 12582912.0f;
constexpr int32_t kRounderBits = 0x4B400000;

// Below this, 127 / largest would be more than a float holds.
constexpr float kTiny = 1e-30f;
constexpr float kTinyFactor = 1.8446744e19f;  // 2^64

constexpr int32_t kInfinityBits = 0x7F800000;

int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Magnitudes compare as their bits do; integers because a maximum of floats is not vectorised, and
// because NaN then counts as larger than infinity.
int32_t largest_magnitude_bits(const float* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t k = 0; k < count; ++k) {
    largest = std::max(largest, bits_of(x[k]) & 0x7FFFFFFF);
  }
  return largest;
}

// Returns the sum of the codes.
int32_t round_codes(const float* x, int64_t count, float before, float factor, int8_t* codes) {
  int32_t sum = 0;
  for (int64_t k = 0; k < count; ++k) {
    const int32_t code = bits_of(x[k] * before * factor + kRounder) - kRounderBits;
    codes[k] = static_cast<int8_t>(code);
    sum += code;
  }
  return sum;
}

RowGroup quantise_group(const float* x, int64_t count, int8_t* codes) {
  const int32_t largest_bits = largest_magnitude_bits(x, count);
  if (largest_bits == 0 || largest_bits >= kInfinityBits) {
    for (int64_t k = 0; k < count; ++k) codes[k] = 0;
    const float scale = largest_bits == 0 ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    return {scale, scale, 0};
  }
  const float largest = float_of(largest_bits);
  const float before = largest < kTiny ? kTinyFactor : 1.0f;
  const int32_t sum = round_codes(x, count, before, 127.0f / (largest * before), codes);
  const float scale = largest / 127.0f;
  return {scale, scale * static_cast<float>(sum), -kCodeZero * sum};
}

}  // namespace

size_t quantised_bytes(int64_t rows, int64_t in, int64_t group) {
  return static_cast<size_t>(rows * quantised_stride(in, group));
}

void quantise_row(const float* x, int64_t in, int64_t group, int64_t row, int64_t,
                  void* quantised) {
  const int64_t groups = groups_of(in, group);
  int8_t* const codes = static_cast<int8_t*>(quantised) + row * quantised_stride(in, group);
  auto* const described = reinterpret_cast<RowGroup*>(codes + padded_inputs(in));
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * group;
    described[g] = quantise_group(x + begin, std::min(group, in - begin), codes + begin);
  }
  for (int64_t k = in; k < padded_inputs(in); ++k) codes[k] = 0;
}

}  // namespace sagellm
