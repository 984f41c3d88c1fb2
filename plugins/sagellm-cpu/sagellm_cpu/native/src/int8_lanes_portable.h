// Lanes in arrays, for compilers to make the best of.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sagellm {
namespace lanes {

struct Ints {
  int32_t lane[16];
};
struct Floats {
  float lane[16];
};
struct Bytes {
  uint8_t byte[64];
};

constexpr bool kOffset = true;
constexpr int kRowsOneScale = 2, kPanelsOneScale = 1;
constexpr int kRowsGroups = 2, kPanelsGroups = 1;

template <class Result, class Operation>
inline Result each_lane(Operation operation) {
  Result result;
  for (int i = 0; i < 16; ++i) result.lane[i] = operation(i);
  return result;
}

inline Ints set_int(int32_t value) {
  return each_lane<Ints>([&](int) { return value; });
}
inline Floats set_float(float value) {
  return each_lane<Floats>([&](int) { return value; });
}
inline Floats to_float(const Ints& value) {
  return each_lane<Floats>([&](int i) { return static_cast<float>(value.lane[i]); });
}
inline Floats mul(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline Floats add(const Floats& a, const Floats& b) {
  return each_lane<Floats>([&](int i) { return a.lane[i] + b.lane[i]; });
}
// Fused wherever the processor can: left to the compiler, it might be here and not there, and a
// row's result would depend on the tile it is in.
inline Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return each_lane<Floats>([&](int i) {
#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__FMA__)
    return std::fma(a.lane[i], b.lane[i], c.lane[i]);
#else
    return a.lane[i] * b.lane[i] + c.lane[i];
#endif
  });
}
inline Floats load_some(const float* source, int count) {
  Floats value = {};
  std::memcpy(value.lane, source, static_cast<size_t>(count) * sizeof(float));
  return value;
}
inline void store_some(float* target, const Floats& value, int count) {
  std::memcpy(target, value.lane, static_cast<size_t>(count) * sizeof(float));
}
inline Floats load(const float* source) { return load_some(source, 16); }
inline void store(float* target, const Floats& value) { store_some(target, value, 16); }

inline Bytes load_codes(const uint8_t* source) {
  Bytes codes;
  std::memcpy(codes.byte, source, sizeof codes.byte);
  return codes;
}
inline Bytes low_halves(const Bytes& pairs) {
  Bytes codes;
  for (int i = 0; i < 64; ++i) codes.byte[i] = pairs.byte[i] & 15;
  return codes;
}
inline Bytes high_halves(const Bytes& pairs) {
  Bytes codes;
  for (int i = 0; i < 64; ++i) codes.byte[i] = pairs.byte[i] >> 4;
  return codes;
}
inline Bytes broadcast_inputs(const int8_t* source) {
  Bytes inputs;
  for (int i = 0; i < 64; i += 4) std::memcpy(inputs.byte + i, source, 4);
  return inputs;
}

inline Ints dot_q8(const Ints& acc, const Bytes& codes, const Bytes& inputs) {
  return each_lane<Ints>([&](int i) {
    int32_t sum = 0;
    for (int j = 4 * i; j < 4 * i + 4; ++j) {
      sum += static_cast<int32_t>(codes.byte[j]) * static_cast<int8_t>(inputs.byte[j]);
    }
    // Unsigned, because a sum may pass the largest integer on its way back into range.
    return static_cast<int32_t>(static_cast<uint32_t>(acc.lane[i]) + static_cast<uint32_t>(sum));
  });
}
inline Ints dot_q4(const Ints& acc, const Bytes& codes, const Bytes& inputs) {
  return dot_q8(acc, codes, inputs);
}

}  // namespace lanes
}  // namespace sagellm
