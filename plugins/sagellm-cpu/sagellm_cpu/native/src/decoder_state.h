// What a decoder keeps, and what its threads do in a step.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "buffer.h"
#include "decoder.h"

namespace sagellm {

// Inputs of a linear layer as a thread finds them.
struct LayerInput {
  const float* x;
  int64_t ld;
  void* quantised;
};

struct Decoder::State {
  State(const DecoderConfig& config, const DecoderLayer* layers, const DecoderEnds& ends);

  // Everything that may fail, before any thread begins. Throws std::bad_alloc.
  void prepare(const DecoderStep& step, int threads);

  // A thread's share of a step.
  void run(Pool& pool, const DecoderStep& step, int thread);

  const DecoderConfig config;
  const std::vector<DecoderLayer> layers;
  const std::vector<int64_t> rotary_dims;
  const float* const embedding;
  const float* const final_norm;
  const bool has_head;
  const Weight head;
  std::mutex mutex;

 private:
  // The attention of the layers that see equally many tokens.
  struct Window {
    AttentionShape shape;
    AttentionPlan plan;
  };
  // A thread's own memory.
  struct Own {
    Buffer rows;       // inputs of a layer that every thread makes for itself
    Buffer quantised;  // and what they are rounded to
    Buffer attention;
    Buffer queries;  // turned queries of one row
  };

  void prepare_windows(const DecoderStep& step);
  void prepare_quantised(int64_t rows);
  const Window& window_of(const DecoderLayer& layer) const;
  Own& own(int thread) { return own_[static_cast<size_t>(thread)]; }

  // --- decoder_attention.cpp: from qkv to the heads' mixed values ---
  void attend_layer(Pool& pool, const DecoderStep& step, int64_t index, int thread);
  void attend_item(const DecoderStep& step, int64_t index, const AttentionItem& item,
                   const Upcoming& upcoming, int thread);
  void turn_rows(const DecoderStep& step, int64_t index, int thread);
  void turn_query(const DecoderStep& step, int64_t index, int64_t row, int64_t head,
                  float* target) const;
  void write_head(const DecoderStep& step, int64_t index, const Segment& segment, int64_t row,
                  int64_t kv_head) const;
  Partials partials() const;
  void merge_row(const DecoderStep& step, const Window& window, int64_t row, float* target,
                 int thread);
  void pick_outputs(Pool& pool, const DecoderStep& step, const Window& window, int thread);

  // --- decoder_state.cpp ---
  void embed(const DecoderStep& step, int thread);
  LayerInput mixed_input(Pool& pool, const DecoderStep& step, int64_t index, int thread);
  void feed_forward(Pool& pool, const DecoderLayer& layer, float* hidden, int64_t rows, int thread);
  void finish(Pool& pool, const DecoderStep& step, const float* hidden, int thread);

  // Whether every thread makes all rows of a layer's inputs for itself: less than a wait for the
  // others takes.
  bool alone(int64_t rows, int64_t width) const { return rows * width <= 4096; }
  // Makes inputs of a layer: body(row, target) writes a row, which is rounded where the layer
  // computes in int8. `shared` is where rows are left for all threads.
  template <class Body>
  LayerInput make_rows(Pool& pool, const Weight& weight, int64_t rows, float* shared, int64_t ld,
                       int thread, Body body);
  LayerInput norm_rows(Pool& pool, const Weight& weight, const float* source, const float* norm,
                       int64_t rows, int thread);
  // target += what the layer gives, normed before where there is a norm.
  void add_layer(Pool& pool, const Weight& weight, const LayerInput& input, const float* norm,
                 float* target, int64_t rows, int thread);
  // body(row) for this thread's share of rows.
  template <class Body>
  void each_row(int64_t rows, int thread, Body body) const {
    const int64_t end = rows * (thread + 1) / threads_;
    for (int64_t row = rows * thread / threads_; row < end; ++row) body(row);
  }

  int threads_ = 0;
  bool single_ = false;  // every sequence has one row
  bool picked_ = false;  // not all rows are wanted
  int64_t outputs_ = 0;  // rows after the last attention
  std::vector<Window> windows_;
  std::unique_ptr<std::atomic<int64_t>[]> next_item_;  // of each layer
  std::deque<Own> own_;                                // of each thread
  // [rows, ...]: hidden states, inputs of a layer, its products and the values that heads mixed.
  Buffer hidden_, normed_, qkv_, mixed_, gate_up_, added_, quantised_;
  Buffer picked_hidden_, picked_mixed_;
  Buffer partial_largest_, partial_sums_, partial_values_;
};

}  // namespace sagellm
