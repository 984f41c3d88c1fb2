#include "decoder_state.h"

#include <algorithm>

#include "row_math.h"

namespace sagellm {

namespace {

// Rows that go through the MLP together: what lies between its layers stays in the caches.
constexpr int64_t kMlpRows = 512;

}  // namespace

Decoder::State::State(const DecoderConfig& config_, const DecoderLayer* layers_,
                      const DecoderEnds& ends)
    : config(config_),
      layers(layers_, layers_ + config_.layers),
      rotary_dims(ends.rotary_dims, ends.rotary_dims + config_.ropes),
      embedding(ends.embedding),
      final_norm(ends.final_norm),
      has_head(ends.head != nullptr),
      head(has_head ? *ends.head : Weight{}),
      next_item_(new std::atomic<int64_t>[static_cast<size_t>(config_.layers)]) {}

// --- before the threads begin --------------------------------------------------------------------

void Decoder::State::prepare(const DecoderStep& step, int threads) {
  threads_ = threads;
  single_ = step.segments == step.rows;
  picked_ = step.outputs >= 0;
  outputs_ = picked_ ? step.outputs : step.rows;
  prepare_windows(step);
  for (int64_t i = 0; i < config.layers; ++i) next_item_[static_cast<size_t>(i)] = 0;

  const int64_t rows = step.rows, mixed = config.heads * config.head_dim;
  const int64_t mlp_rows = std::min(rows, kMlpRows);
  hidden_.reserve_floats(rows * config.hidden);
  normed_.reserve_floats(rows * config.hidden);
  qkv_.reserve_floats(rows * (mixed + 2 * config.kv_heads * config.head_dim));
  mixed_.reserve_floats(rows * mixed);
  gate_up_.reserve_floats(mlp_rows * 2 * config.intermediate);
  added_.reserve_floats(rows * config.hidden);
  if (picked_) {
    picked_hidden_.reserve_floats(outputs_ * config.hidden);
    picked_mixed_.reserve_floats(outputs_ * mixed);
  }
  while (own_.size() < static_cast<size_t>(threads)) own_.emplace_back();
  for (Own& memory : own_) {
    memory.rows.reserve_floats(4096);
    memory.attention.reserve_floats(attention_workspace(windows_.front().shape));
    memory.queries.reserve_floats(mixed);
  }
  prepare_quantised(rows);
}

void Decoder::State::prepare_windows(const DecoderStep& step) {
  windows_.clear();
  int64_t lines = 0;
  for (const DecoderLayer& layer : layers) {
    const auto same = [&](const Window& window) { return window.shape.window == layer.window; };
    if (std::any_of(windows_.begin(), windows_.end(), same)) continue;
    const AttentionShape shape = {config.heads,           config.kv_heads,
                                  config.head_dim,        step.block_size,
                                  config.attention_scale, config.attention_softcap,
                                  layer.window,           config.kv_heads * config.head_dim,
                                  false,                  nullptr,
                                  0};
    windows_.push_back({shape, plan_attention(shape, step.segment, step.segments, step.rows)});
    lines = std::max(lines, windows_.back().plan.partial_lines);
  }
  partial_largest_.reserve_floats(lines);
  partial_sums_.reserve_floats(lines);
  partial_values_.reserve_floats(lines * padded_head(config.head_dim));
}

void Decoder::State::prepare_quantised(int64_t rows) {
  size_t shared = 0, own = 0;
  const auto count = [&](const Weight& weight, int64_t of) {
    if (weight.arithmetic != kInt8) return;
    const size_t bytes = quantised_bytes(of, weight.in, weight.group);
    size_t& larger = alone(of, weight.in) ? own : shared;
    larger = std::max(larger, bytes);
  };
  // The wanted rows, which may be fewer, too: these may be few enough for every thread.
  for (const int64_t of : {rows, std::min(rows, kMlpRows), rows % kMlpRows, outputs_,
                           outputs_ % kMlpRows}) {
    for (const DecoderLayer& layer : layers) {
      count(layer.qkv, of);
      count(layer.output, of);
      count(layer.gate_up, of);
      count(layer.down, of);
    }
    if (has_head) count(head, of);
  }
  quantised_.reserve(shared);
  for (Own& memory : own_) memory.quantised.reserve(own);
}

const Decoder::State::Window& Decoder::State::window_of(const DecoderLayer& layer) const {
  const auto same = [&](const Window& window) { return window.shape.window == layer.window; };
  return *std::find_if(windows_.begin(), windows_.end(), same);
}

// --- inputs and outputs of linear layers ---------------------------------------------------------

template <class Body>
LayerInput Decoder::State::make_rows(Pool& pool, const Weight& weight, int64_t rows, float* shared,
                                     int64_t ld, int thread, Body body) {
  const bool rounded = weight.arithmetic == kInt8;
  const auto make = [&](int64_t row, float* target, const Buffer& quantised) {
    body(row, target);
    if (rounded) {
      quantise_row(target, weight.in, weight.group, row, rows, quantised.bytes());
    }
  };
  if (alone(rows, weight.in)) {
    float* const mine = own(thread).rows.floats();
    const Buffer& quantised = own(thread).quantised;
    for (int64_t row = 0; row < rows; ++row) make(row, mine + row * weight.in, quantised);
    return {mine, weight.in, rounded ? quantised.bytes() : nullptr};
  }
  each_row(rows, thread, [&](int64_t row) { make(row, shared + row * ld, quantised_); });
  pool.barrier();
  return {shared, ld, rounded ? quantised_.bytes() : nullptr};
}

LayerInput Decoder::State::norm_rows(Pool& pool, const Weight& weight, const float* source,
                                     const float* norm, int64_t rows, int thread) {
  const int64_t width = config.hidden;
  return make_rows(pool, weight, rows, normed_.floats(), width, thread,
                   [&](int64_t row, float* target) {
                     rms_norm(source + row * width, norm, width, config.norm_eps, target);
                   });
}

void Decoder::State::add_layer(Pool& pool, const Weight& weight, const LayerInput& input,
                               const float* norm, float* target, int64_t rows, int thread) {
  const Rows inputs = {input.x, input.ld, rows, input.quantised};
  const int64_t width = config.hidden;
  if (norm == nullptr) {
    linear(weight, inputs, target, width, kAdd, thread, threads_);
    pool.barrier();
    return;
  }
  float* const added = added_.floats();
  linear(weight, inputs, added, width, kStore, thread, threads_);
  pool.barrier();
  each_row(rows, thread, [&](int64_t row) {
    rms_norm(added + row * width, norm, width, config.norm_eps, added + row * width);
    add_row(target + row * width, added + row * width, width);
  });
  pool.barrier();
}

// --- the step ------------------------------------------------------------------------------------

void Decoder::State::embed(const DecoderStep& step, int thread) {
  each_row(step.rows, thread, [&](int64_t row) {
    float* const target = hidden_.floats() + row * config.hidden;
    const int64_t token = step.tokens[row];
    if (embedding == nullptr) {
      unpack_row(head, token, target);
    } else {
      std::copy_n(embedding + token * config.hidden, config.hidden, target);
    }
    if (config.embedding_scale != 1.0f) scale_row(target, config.hidden, config.embedding_scale);
  });
}

// What the heads mixed, as the inputs of the output projection.
LayerInput Decoder::State::mixed_input(Pool& pool, const DecoderStep& step, int64_t index,
                                       int thread) {
  const Weight& weight = layers[static_cast<size_t>(index)].output;
  const Window& window = window_of(layers[static_cast<size_t>(index)]);
  const int64_t width = config.heads * config.head_dim;
  const bool last = picked_ && index == config.layers - 1;
  if (last) pick_outputs(pool, step, window, thread);
  float* const mixed = last ? picked_mixed_.floats() : mixed_.floats();
  const bool merged = last || window.plan.split.empty();
  if (merged && weight.arithmetic != kInt8) return {mixed, width, nullptr};
  return make_rows(pool, weight, last ? outputs_ : step.rows, mixed, width, thread,
                   [&](int64_t row, float* target) {
                     if (!merged) {
                       merge_row(step, window, row, target, thread);
                     } else if (target != mixed + row * width) {
                       std::copy_n(mixed + row * width, width, target);
                     }
                   });
}

void Decoder::State::feed_forward(Pool& pool, const DecoderLayer& layer, float* hidden,
                                  int64_t all, int thread) {
  const int64_t inner = config.intermediate;
  for (int64_t begin = 0; begin < all; begin += kMlpRows) {
    const int64_t rows = std::min(all - begin, kMlpRows);
    float* const part = hidden + begin * config.hidden;
    float* const gate_up = gate_up_.floats();
    const LayerInput normed = norm_rows(pool, layer.gate_up, part, layer.mlp_norm, rows, thread);
    linear(layer.gate_up, {normed.x, normed.ld, rows, normed.quantised}, gate_up, 2 * inner, kStore,
           thread, threads_);
    pool.barrier();
    const LayerInput activated =
        make_rows(pool, layer.down, rows, gate_up, 2 * inner, thread,
                  [&](int64_t row, float* target) {
                    const float* const gate = gate_up + row * 2 * inner;
                    activate(config.activation, gate, gate + inner, inner, target);
                  });
    add_layer(pool, layer.down, activated, layer.post_mlp_norm, part, rows, thread);
  }
}

void Decoder::State::run(Pool& pool, const DecoderStep& step, int thread) {
  embed(step, thread);
  pool.barrier();
  const int64_t qkv = (config.heads + 2 * config.kv_heads) * config.head_dim;
  float* hidden = hidden_.floats();
  int64_t rows = step.rows;
  for (int64_t index = 0; index < config.layers; ++index) {
    const DecoderLayer& layer = layers[static_cast<size_t>(index)];
    const LayerInput normed =
        norm_rows(pool, layer.qkv, hidden, layer.attention_norm, rows, thread);
    linear(layer.qkv, {normed.x, normed.ld, rows, normed.quantised}, qkv_.floats(), qkv, kStore,
           thread, threads_);
    pool.barrier();
    attend_layer(pool, step, index, thread);
    if (picked_ && index == config.layers - 1) {
      if (outputs_ == 0) return;
      rows = outputs_;
      hidden = picked_hidden_.floats();
    }
    const LayerInput mixed = mixed_input(pool, step, index, thread);
    add_layer(pool, layer.output, mixed, layer.post_attention_norm, hidden, rows, thread);
    feed_forward(pool, layer, hidden, rows, thread);
  }
  finish(pool, step, hidden, thread);
}

void Decoder::State::finish(Pool& pool, const DecoderStep& step, const float* hidden, int thread) {
  const int64_t width = config.hidden;
  if (step.hidden != nullptr) {
    each_row(outputs_, thread, [&](int64_t row) {
      rms_norm(hidden + row * width, final_norm, width, config.norm_eps, step.hidden + row * width);
    });
  }
  if (step.logits == nullptr) return;
  const LayerInput normed = norm_rows(pool, head, hidden, final_norm, outputs_, thread);
  linear(head, {normed.x, normed.ld, outputs_, normed.quantised}, step.logits, config.vocab, kStore,
         thread, threads_);
  if (config.logit_softcap > 0.0f) {
    pool.barrier();
    const int64_t all = outputs_ * config.vocab;
    const int64_t begin = all * thread / threads_, end = all * (thread + 1) / threads_;
    soft_cap(step.logits + begin, end - begin, config.logit_softcap);
  }
}

}  // namespace sagellm
