// Lays codes of kQ8 and kQ4 weights out in panels, and reads them back.

#include <cstring>

#include "codes_layout.h"
#include "half.h"
#include "linear_kernels.h"

namespace sagellm {
namespace {

// Where input k of one output lies in its panel: byte of the panel, less four times the lane.
int64_t byte_of_q8(int64_t k) { return (k / 4) * kStepBytes + k % 4; }
int64_t byte_of_q4(int64_t k) { return (k / 8) * kStepBytes + k % 4; }

void pack_row_q8(const int8_t* source, int64_t in, uint8_t* lane) {
  for (int64_t k = 0; k < in; ++k) {
    lane[byte_of_q8(k)] = static_cast<uint8_t>(source[k] + kCodeZero);
  }
  for (int64_t k = in; k % 4 != 0; ++k) lane[byte_of_q8(k)] = kCodeZero;
}

void pack_row_q4(const uint8_t* source, int64_t in, uint8_t* lane) {
  const auto code = [&](int64_t k) -> uint8_t {
    if (k >= in) return 0;
    const uint8_t pair = source[k / 2];
    return k % 2 == 0 ? pair & 15 : pair >> 4;
  };
  for (int64_t step = 0; step < steps_of(kQ4, in); ++step) {
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t k = step * 8 + j;
      lane[step * kStepBytes + j] = static_cast<uint8_t>(code(k) | (code(k + 4) << 4));
    }
  }
}

// Scales, or minimums, of one output; zeros where there is no source.
template <typename Number>
void pack_scales_row(const Number* source, int64_t groups, int64_t output, Number* packed) {
  Number* const lane = packed + scale_index(output / kPanel, groups, 0) + output % kPanel;
  for (int64_t g = 0; g < groups; ++g) lane[g * kPanel] = source == nullptr ? Number{} : source[g];
}

// Those of `count` outputs from `first` on, and of the padding after the last one.
template <typename Number>
void pack_scales(const void* source, int64_t groups, int64_t out, int64_t first, int64_t count,
                 void* packed) {
  const auto* const rows = static_cast<const Number*>(source);
  auto* const target = static_cast<Number*>(packed);
  for (int64_t row = 0; row < count; ++row) {
    pack_scales_row(rows == nullptr ? nullptr : rows + row * groups, groups, first + row, target);
  }
  if (first + count != out) return;
  for (int64_t output = out; output < panels_of(out) * kPanel; ++output) {
    pack_scales_row<Number>(nullptr, groups, output, target);
  }
}

// One scale, or minimum.
float number_at(const void* numbers, int32_t format, int64_t index) {
  return format == kF16 ? widen_half(static_cast<const uint16_t*>(numbers)[index])
                        : static_cast<const float*>(numbers)[index];
}

}  // namespace

size_t code_data_bytes(int32_t format, int64_t out, int64_t in) {
  return static_cast<size_t>(panels_of(out) * panel_bytes(format, in));
}

size_t code_scale_count(int64_t out, int64_t in, int64_t group) {
  return static_cast<size_t>(panels_of(out) * groups_of(in, group) * kPanel);
}

void pack_codes(int32_t format, int32_t scale_format, int64_t out, int64_t in, int64_t group,
                int64_t first, int64_t count, const void* source, const void* scales,
                const void* mins, void* packed_data, void* packed_scales, void* packed_mins) {
  const int64_t groups = groups_of(in, group);
  const auto pack_numbers = scale_format == kF16 ? pack_scales<uint16_t> : pack_scales<float>;
  pack_numbers(scales, groups, out, first, count, packed_scales);
  if (packed_mins != nullptr) pack_numbers(mins, groups, out, first, count, packed_mins);
  auto* const data = static_cast<uint8_t*>(packed_data);
  const auto lane_of = [&](int64_t output) {
    return data + (output / kPanel) * panel_bytes(format, in) + (output % kPanel) * 4;
  };
  for (int64_t row = 0; row < count; ++row) {
    const int64_t output = first + row;
    if (format == kQ8) {
      pack_row_q8(static_cast<const int8_t*>(source) + row * in, in, lane_of(output));
    } else {
      const int64_t row_bytes = ceil_div(in, 2);
      pack_row_q4(static_cast<const uint8_t*>(source) + row * row_bytes, in, lane_of(output));
    }
  }
  if (first + count != out) return;
  const int zero = format == kQ8 ? kCodeZero : 0;
  for (int64_t output = out; output < panels_of(out) * kPanel; ++output) {
    uint8_t* const lane = lane_of(output);
    for (int64_t step = 0; step < steps_of(format, in); ++step) {
      std::memset(lane + step * kStepBytes, zero, 4);
    }
  }
}

void unpack_codes_row(const Weight& weight, int64_t row, float* dst) {
  const int64_t panel = row / kPanel;
  const int64_t lane = row % kPanel;
  const int64_t groups = groups_of(weight.in, weight.group);
  const uint8_t* const codes = panel_codes(weight, panel) + lane * 4;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t index = scale_index(panel, groups, g) + lane;
    const float scale = number_at(weight.scales, weight.scale_format, index);
    const float minimum =
        weight.mins == nullptr ? 0.0f : number_at(weight.mins, weight.scale_format, index);
    const int64_t end = (g + 1) * weight.group < weight.in ? (g + 1) * weight.group : weight.in;
    for (int64_t k = g * weight.group; k < end; ++k) {
      int code;
      if (weight.format == kQ8) {
        code = codes[byte_of_q8(k)] - kCodeZero;
      } else {
        const uint8_t pair = codes[byte_of_q4(k)];
        code = k % 8 < 4 ? pair & 15 : pair >> 4;
      }
      dst[k] = scale * static_cast<float>(code) + minimum;
    }
  }
}

}  // namespace sagellm
