// What is done to rows between the linear layers. An element's result depends on its row alone,
// not on the rows beside it.
#pragma once

#include <cstdint>

namespace sagellm {

// Activation functions of the gate.
enum Activation : int32_t {
  kSilu = 0,      // x / (1 + e^-x)
  kGelu = 1,      // x / 2 (1 + erf(x / sqrt(2)))
  kGeluTanh = 2,  // x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  kRelu = 3,      // max(x, 0)
};

// y = x / sqrt(mean(x^2) + eps) * weight, each [size]; y may be x.
void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* y);

// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, each [size]; y may be x.
void layer_norm(const float* x, const float* weight, const float* bias, int64_t size, float eps,
                float* y);

// y = activation(gate) * up, each [size]; y may be gate. Without up (null) y = activation(gate).
void activate(int32_t activation, const float* gate, const float* up, int64_t size, float* y);

// x = cap * tanh(x / cap)
void soft_cap(float* x, int64_t size, float cap);

// x += y
void add_row(float* x, const float* y, int64_t size);

// x *= factor
void scale_row(float* x, int64_t size, float factor);

// One head [head_dim]: y = x, its first rotary_dim numbers rotated pair by pair. y may be x.
//   rotation: [rotary_dim / 2, 2], cosine and sine of each pair
void rotate_head(const float* x, const float* rotation, int64_t rotary_dim, int64_t head_dim,
                 float* y);

}  // namespace sagellm
