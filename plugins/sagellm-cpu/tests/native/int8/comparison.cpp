// Compares products of many rows, for which there may be instructions that multiply matrices, with
// those of each row alone, for which there are none: all bits have to be the same. For processors
// that only an emulator has.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "buffer.h"
#include "linear_int8_matrix.h"
#include "linear_kernels.h"

using namespace sagellm;

namespace {

uint32_t state = 1;
uint32_t draw(uint32_t limit) {
  state = state * 1664525u + 1013904223u;
  return static_cast<uint32_t>((static_cast<uint64_t>(state) * limit) >> 32);
}
float draw_float() { return static_cast<float>(draw(2000001)) / 1000000.0f - 1.0f; }

std::vector<float> floats(int64_t count) {
  std::vector<float> made(static_cast<size_t>(count));
  for (float& value : made) value = draw_float();
  return made;
}

// Numbers of half precision between 2^-14 and 2 in size.
std::vector<uint16_t> halves(int64_t count) {
  std::vector<uint16_t> made(static_cast<size_t>(count));
  for (uint16_t& bits : made) {
    bits = static_cast<uint16_t>(draw(2) << 15 | (1 + draw(15)) << 10 | draw(1024));
  }
  return made;
}

struct Case {
  int32_t format;
  int64_t out, in, group, rows;
  bool mins, bias, add, half;
  int threads;
};

std::vector<float> product(const Weight& weight, const float* x, int64_t rows, const Case& made,
                           const std::vector<float>& before) {
  Buffer quantised;
  quantised.reserve(quantised_bytes(rows, weight.in, weight.group));
  for (int64_t row = 0; row < rows; ++row) {
    quantise_row(x + row * weight.in, weight.in, weight.group, row, rows, quantised.bytes());
  }
  std::vector<float> y = before;
  for (int thread = 0; thread < made.threads; ++thread) {
    linear_int8(weight, {nullptr, 0, rows, quantised.bytes()}, y.data(), weight.out,
                made.add ? kAdd : kStore, thread, made.threads);
  }
  return y;
}

bool equal(const Case& made) {
  const int64_t groups = groups_of(made.in, made.group);
  const bool bytes = made.format == kQ8;
  std::vector<uint8_t> codes(static_cast<size_t>(made.out * (bytes ? made.in : made.in / 2)));
  for (uint8_t& code : codes) code = static_cast<uint8_t>(draw(256));
  const int32_t scale_format = made.half ? kF16 : kF32;
  const std::vector<float> scales = floats(made.out * groups), mins = floats(made.out * groups);
  const std::vector<uint16_t> short_scales = halves(made.out * groups);
  const std::vector<uint16_t> short_mins = halves(made.out * groups);
  const void* own_mins = made.half ? static_cast<const void*>(short_mins.data()) : mins.data();
  if (!made.mins) own_mins = nullptr;
  const std::vector<float> bias = floats(made.out);
  Buffer data, packed_scales, packed_mins;
  data.reserve(code_data_bytes(made.format, made.out, made.in));
  const auto count = static_cast<int64_t>(code_scale_count(made.out, made.in, made.group));
  packed_scales.reserve_floats(count);
  packed_mins.reserve_floats(count);
  pack_codes(made.format, scale_format, made.out, made.in, made.group, 0, made.out, codes.data(),
             made.half ? static_cast<const void*>(short_scales.data()) : scales.data(), own_mins,
             data.bytes(), packed_scales.floats(), made.mins ? packed_mins.floats() : nullptr);
  const Weight weight = {made.format,
                         kInt8,
                         scale_format,
                         made.out,
                         made.in,
                         made.group,
                         data.bytes(),
                         packed_scales.floats(),
                         made.mins ? packed_mins.floats() : nullptr,
                         made.bias ? bias.data() : nullptr};
  std::vector<float> x = floats(made.rows * made.in);
  x[static_cast<size_t>(made.in / 2)] = NAN;
  const std::vector<float> before = floats(made.rows * made.out);
  const std::vector<float> together = product(weight, x.data(), made.rows, made, before);
  for (int64_t row = 0; row < made.rows; ++row) {
    const auto first = before.begin() + row * made.out;
    const std::vector<float> alone = product(weight, x.data() + row * made.in, 1, made,
                                             {first, first + made.out});
    if (std::memcmp(alone.data(), together.data() + row * made.out, alone.size() * 4) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  const int64_t groups[] = {32, 64, 96, 128, 256, 8, 0};
  int count = 0;
  for (int32_t format : {kQ8, kQ4}) {
    for (int64_t group : groups) {
      for (int64_t rows : {4, 8, 15, 16, 17, 31, 32, 50, 129}) {
        const int64_t width = 1 + draw(9);
        const int64_t in = group == 0 ? 2 + 2 * draw(300) : group * width;
        const Case made = {format,       1 + draw(70), in,           group == 0 ? in : group, rows,
                           draw(2) == 0, draw(2) == 0, draw(2) == 0, draw(2) == 0,
                           1 + static_cast<int>(draw(3))};
        if (!equal(made)) {
          std::printf("different: format %d, [%lld, %lld], group %lld, %lld rows\n", format,
                      static_cast<long long>(made.out), static_cast<long long>(made.in),
                      static_cast<long long>(made.group), static_cast<long long>(rows));
          return 1;
        }
        ++count;
      }
    }
  }
  std::printf("%d shapes are equal with %s\n", count, matrix_instructions());
  return 0;
}
