#include "row_math.h"

#include <cmath>
#include <cstring>

#include "math_lanes.h"

namespace sagellm {

using lanes::Floats;

namespace {

// body(offset, count of lanes) over all of a row: all lanes but in the last step.
template <class Body>
inline void each_step(int64_t size, Body body) {
  int64_t at = 0;
  for (; at + 16 <= size; at += 16) body(at, 16);
  if (at < size) body(at, static_cast<int>(size - at));
}

inline Floats load(const float* source, int count) {
  return count == 16 ? lanes::load(source) : lanes::load_some(source, count);
}

inline void store(float* target, Floats value, int count) {
  if (count == 16) {
    lanes::store(target, value);
  } else {
    lanes::store_some(target, value, count);
  }
}

inline Floats negated(Floats x) { return lanes::sub(lanes::set_float(0.0f), x); }

inline Floats silu(Floats x) {
  return lanes::div(x, lanes::add(lanes::set_float(1.0f), lanes::exponential(negated(x))));
}

// erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: within 1.5e-7.
inline Floats gelu(Floats x) {
  const Floats one = lanes::set_float(1.0f);
  const Floats scaled = lanes::mul(x, lanes::set_float(0.70710678f));
  const Floats size = lanes::max(scaled, negated(scaled));
  const Floats t = lanes::div(one, lanes::fma(lanes::set_float(0.3275911f), size, one));
  Floats series = lanes::set_float(1.061405429f);
  series = lanes::fma(series, t, lanes::set_float(-1.453152027f));
  series = lanes::fma(series, t, lanes::set_float(1.421413741f));
  series = lanes::fma(series, t, lanes::set_float(-0.284496736f));
  series = lanes::fma(series, t, lanes::set_float(0.254829592f));
  const Floats bell = lanes::exponential(negated(lanes::mul(size, size)));
  const Floats tail = lanes::mul(lanes::mul(series, t), bell);  // 1 - erf(size)
  // x / 2 (1 + erf): for x > 0 it is x - x / 2 tail, else x / 2 tail.
  const Floats half = lanes::mul(lanes::mul(x, lanes::set_float(0.5f)), tail);
  const Floats positive = lanes::max(lanes::set_float(0.0f), x);
  const Floats negative_half = lanes::min(half, negated(half));
  return lanes::add(positive, negative_half);
}

inline Floats gelu_tanh(Floats x) {
  const Floats cubed = lanes::mul(lanes::mul(x, x), x);
  const Floats inner =
      lanes::mul(lanes::set_float(0.79788456f), lanes::fma(cubed, lanes::set_float(0.044715f), x));
  const Floats turned = lanes::add(lanes::set_float(1.0f), lanes::hyperbolic_tangent(inner));
  return lanes::mul(lanes::mul(x, lanes::set_float(0.5f)), turned);
}

inline Floats relu(Floats x) { return lanes::max(lanes::set_float(0.0f), x); }

template <class Function>
void activate_with(Function function, const float* gate, const float* up, int64_t size, float* y) {
  if (up == nullptr) {
    each_step(size, [&](int64_t at, int count) {
      store(y + at, function(load(gate + at, count)), count);
    });
    return;
  }
  each_step(size, [&](int64_t at, int count) {
    store(y + at, lanes::mul(function(load(gate + at, count)), load(up + at, count)), count);
  });
}

// The sum of term(numbers, count of lanes) over a row.
template <class Term>
inline float sum_of(const float* x, int64_t size, Term term) {
  Floats sums[4] = {lanes::set_float(0.0f), lanes::set_float(0.0f), lanes::set_float(0.0f),
                    lanes::set_float(0.0f)};
  int64_t at = 0;
  for (; at + 64 <= size; at += 64) {
    for (int i = 0; i < 4; ++i) sums[i] = term(lanes::load(x + at + 16 * i), sums[i], 16);
  }
  for (; at < size; at += 16) {
    const int count = static_cast<int>(size - at < 16 ? size - at : 16);
    sums[0] = term(load(x + at, count), sums[0], count);
  }
  return lanes::sum(lanes::add(lanes::add(sums[0], sums[1]), lanes::add(sums[2], sums[3])));
}

}  // namespace

void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* y) {
  const float total = sum_of(
      x, size, [](Floats part, Floats sum, int) { return lanes::fma(part, part, sum); });
  const Floats factor =
      lanes::set_float(1.0f / std::sqrt(total / static_cast<float>(size) + eps));
  each_step(size, [&](int64_t i, int count) {
    store(y + i, lanes::mul(lanes::mul(load(x + i, count), factor), load(weight + i, count)),
          count);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t size, float eps,
                float* y) {
  const auto count_of = static_cast<float>(size);
  const float mean =
      sum_of(x, size, [](Floats part, Floats sum, int) { return lanes::add(sum, part); }) /
      count_of;
  const Floats means = lanes::set_float(mean);
  // Of what was left out of the last lanes, which are zeros, nothing may be subtracted.
  const float squares = sum_of(x, size, [&](Floats part, Floats sum, int count) {
    if (count < 16) {
      float some[16];
      lanes::store(some, lanes::sub(part, means));
      part = lanes::load_some(some, count);
    } else {
      part = lanes::sub(part, means);
    }
    return lanes::fma(part, part, sum);
  });
  const Floats factor = lanes::set_float(1.0f / std::sqrt(squares / count_of + eps));
  each_step(size, [&](int64_t i, int count) {
    const Floats centred = lanes::mul(lanes::sub(load(x + i, count), means), factor);
    store(y + i, lanes::fma(centred, load(weight + i, count), load(bias + i, count)), count);
  });
}

void activate(int32_t activation, const float* gate, const float* up, int64_t size, float* y) {
  switch (activation) {
    case kSilu:
      activate_with(silu, gate, up, size, y);
      break;
    case kGelu:
      activate_with(gelu, gate, up, size, y);
      break;
    case kGeluTanh:
      activate_with(gelu_tanh, gate, up, size, y);
      break;
    default:
      activate_with(relu, gate, up, size, y);
  }
}

void soft_cap(float* x, int64_t size, float cap) {
  const Floats inverse = lanes::set_float(1.0f / cap), limit = lanes::set_float(cap);
  each_step(size, [&](int64_t at, int count) {
    const Floats inner = lanes::mul(load(x + at, count), inverse);
    store(x + at, lanes::mul(lanes::hyperbolic_tangent(inner), limit), count);
  });
}

void add_row(float* x, const float* y, int64_t size) {
  each_step(size, [&](int64_t at, int count) {
    store(x + at, lanes::add(load(x + at, count), load(y + at, count)), count);
  });
}

void scale_row(float* x, int64_t size, float factor) {
  const Floats factors = lanes::set_float(factor);
  each_step(size, [&](int64_t at, int count) {
    store(x + at, lanes::mul(load(x + at, count), factors), count);
  });
}

void rotate_head(const float* x, const float* rotation, int64_t rotary_dim, int64_t head_dim,
                 float* y) {
  for (int64_t i = 0; i < rotary_dim; i += 2) {
    const float even = x[i], odd = x[i + 1];
    const float cosine = rotation[i], sine = rotation[i + 1];
    y[i] = even * cosine - odd * sine;
    y[i + 1] = even * sine + odd * cosine;
  }
  if (y != x && rotary_dim < head_dim) {
    std::memcpy(y + rotary_dim, x + rotary_dim,
                static_cast<size_t>(head_dim - rotary_dim) * sizeof(float));
  }
}

}  // namespace sagellm
