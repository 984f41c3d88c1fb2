// A decoder step: embedding, all layers, last norm and output layer, in one region of the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "attention.h"
#include "linear.h"
#include "pool.h"

namespace sagellm {

// What the layers have in common. Plain data, shared with Python through ctypes.
struct DecoderConfig {
  int64_t vocab;
  int64_t hidden;
  int64_t intermediate;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t layers;
  int64_t ropes;
  int32_t activation;  // Activation
  float norm_eps;
  float attention_scale;
  float attention_softcap;  // 0: none
  float logit_softcap;      // 0: none
  float embedding_scale;    // 1: none
};

// One layer. Optional pointers are null.
struct DecoderLayer {
  Weight qkv;      // queries and keys with rotated pairs side by side
  Weight output;
  Weight gate_up;  // [gate; up]
  Weight down;
  const float* attention_norm;       // [hidden]
  const float* mlp_norm;             // [hidden]
  const float* post_attention_norm;  // [hidden]: norm of what attention adds
  const float* post_mlp_norm;        // [hidden]
  const float* qk_norm;              // [heads + kv_heads, head_dim]
  int64_t window;                    // tokens that a token sees; 0: all
  int64_t rope;                      // which of the step's rotations
};

struct DecoderEnds {
  const float* embedding;        // [vocab, hidden], or null: rows of the output layer
  const float* final_norm;       // [hidden]
  const Weight* head;            // null: the model only embeds
  const int64_t* rotary_dims;    // [ropes]
};

// One step.
struct DecoderStep {
  int64_t rows;
  int64_t segments;
  int64_t outputs;                 // rows wanted; -1: all of them, in their order
  int64_t block_size;
  int64_t blocks;                  // blocks of the cache, to check tables by
  const int64_t* tokens;           // [rows]
  const float* const* rotations;   // [ropes] of [rows, rotary_dim / 2, 2]
  const Segment* segment;          // [segments]
  const int64_t* output_rows;      // [outputs]
  const LayerCache* cache;         // [layers]
  float* hidden;                   // [outputs, hidden] after the last norm, or null
  float* logits;                   // [outputs, vocab], or null
};

enum StepResult : int32_t {
  kDone = 0,
  kNoMemory = 1,
  kBadToken = 2,   // a token is not in the vocabulary
  kBadBlock = 3,   // a block is not in the cache
  kBadShape = 4,   // rows, segments and outputs contradict each other
};

class Decoder {
 public:
  Decoder(const DecoderConfig& config, const DecoderLayer* layers, const DecoderEnds& ends);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Steps of one decoder take turns. Throws nothing.
  int32_t step(Pool& pool, const DecoderStep& step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sagellm
