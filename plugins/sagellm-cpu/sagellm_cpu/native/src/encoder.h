// An encoder's pass over whole texts: embeddings and all layers, in one region of the pool.
//
// Two phases take turns, with one wait after each: attention, and all that is done to rows between
// one attention and the next. In the second, a thread takes some rows through every layer by
// itself: what lies between the layers stays in its caches, and nobody waits.
#pragma once

#include <cstdint>
#include <memory>

#include "attention.h"
#include "linear.h"
#include "pool.h"

namespace sagellm {

// What the layers have in common. Plain data, shared with Python through ctypes.
struct EncoderConfig {
  int64_t vocab;
  int64_t positions;  // rows of the table
  int64_t hidden;
  int64_t intermediate;
  int64_t heads;
  int64_t layers;
  int32_t activation;  // Activation
  float norm_eps;
};

// A layer norm, each [hidden].
struct EncoderNorm {
  const float* weight;
  const float* bias;
};

// One layer: what attention and the network give is added, and the sum normed.
struct EncoderLayer {
  Weight qkv;
  Weight output;
  Weight up;
  Weight down;
  EncoderNorm attention_norm;
  EncoderNorm output_norm;
};

// What a token begins as: the sum of its word's and its position's row, normed.
struct EncoderTables {
  const float* words;      // [vocab, hidden]
  const float* positions;  // [positions, hidden]
  EncoderNorm norm;
};

// One pass.
struct EncoderPass {
  int64_t rows;
  int64_t texts;
  int64_t outputs;             // rows wanted; -1: all of them, in their order
  const int64_t* tokens;       // [rows]
  const int64_t* places;       // [rows], rows of the table of positions
  const int64_t* lengths;      // [texts], in the order of their rows; together `rows`
  const int64_t* output_rows;  // [outputs]
  const float* bias;           // [heads, bias_size, bias_size] of scores, or null
  int64_t bias_size;           // the longest text's length at least
  float* hidden;               // [outputs, hidden] after the last layer
};

class Encoder {
 public:
  Encoder(const EncoderConfig& config, const EncoderLayer* layers, const EncoderTables& tables);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // A StepResult of decoder.h. Passes of one encoder take turns. Throws nothing.
  int32_t pass(Pool& pool, const EncoderPass& pass);

  // Gives the memory between layers back: what the longest pass took is kept from pass to pass.
  void release();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sagellm
