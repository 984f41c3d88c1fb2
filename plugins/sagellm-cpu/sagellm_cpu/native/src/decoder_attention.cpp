// The decoder's attention: heads are normed and turned, keys and values written, spans merged.

#include <cstring>

#include "attention_ahead.h"
#include "decoder_state.h"
#include "row_math.h"

namespace sagellm {

namespace {

int64_t qkv_width(const DecoderConfig& config) {
  return (config.heads + 2 * config.kv_heads) * config.head_dim;
}

}  // namespace

void Decoder::State::turn_query(const DecoderStep& step, int64_t index, int64_t row, int64_t head,
                                float* target) const {
  const DecoderLayer& layer = layers[static_cast<size_t>(index)];
  const int64_t dim = config.head_dim;
  const int64_t rotary = rotary_dims[static_cast<size_t>(layer.rope)];
  const float* source = qkv_.floats() + row * qkv_width(config) + head * dim;
  if (layer.qk_norm != nullptr) {
    rms_norm(source, layer.qk_norm + head * dim, dim, config.norm_eps, target);
    source = target;
  }
  rotate_head(source, step.rotations[layer.rope] + row * rotary, rotary, dim, target);
}

// The key of a head is turned like a query.
void Decoder::State::write_head(const DecoderStep& step, int64_t index, const Segment& segment,
                                int64_t row, int64_t kv_head) const {
  const AttentionShape& shape = windows_.front().shape;
  const int64_t position = segment.start + row - segment.first;
  const int64_t offset = cache_offset(shape, segment, position, kv_head);
  const LayerCache& cache = step.cache[index];
  turn_query(step, index, row, config.heads + kv_head, cache.keys + offset);
  const int64_t value = config.heads + config.kv_heads + kv_head;
  std::memcpy(cache.values + offset,
              qkv_.floats() + row * qkv_width(config) + value * config.head_dim,
              static_cast<size_t>(config.head_dim) * sizeof(float));
}

void Decoder::State::turn_rows(const DecoderStep& step, int64_t index, int thread) {
  int64_t s = 0;
  each_row(step.rows, thread, [&](int64_t row) {
    while (row >= step.segment[s].first + step.segment[s].count) ++s;
    for (int64_t head = 0; head < config.heads; ++head) {
      turn_query(step, index, row, head,
                 qkv_.floats() + row * qkv_width(config) + head * config.head_dim);
    }
    for (int64_t head = 0; head < config.kv_heads; ++head) {
      write_head(step, index, step.segment[s], row, head);
    }
  });
}

Partials Decoder::State::partials() const {
  return {partial_largest_.floats(), partial_sums_.floats(), partial_values_.floats()};
}

// With one row a sequence, whoever computes an item turns its queries, and the item that sees the
// new key writes it: no wait between the two.
void Decoder::State::attend_item(const DecoderStep& step, int64_t index, const AttentionItem& item,
                                 const Upcoming& upcoming, int thread) {
  const Window& window = window_of(layers[static_cast<size_t>(index)]);
  const Segment& segment = step.segment[item.segment];
  const int64_t width = config.heads * config.head_dim;
  float* const workspace = own(thread).attention.floats();
  if (!single_) {
    attend(window.shape, item, segment, step.cache[index], qkv_.floats(), qkv_width(config),
           mixed_.floats(), width, partials(), workspace, upcoming);
    return;
  }
  float* const queries = own(thread).queries.floats();
  const int64_t group = config.heads / config.kv_heads;
  for (int64_t i = 0; i < group; ++i) {
    const int64_t head = item.kv_head * group + i;
    turn_query(step, index, segment.first, head, queries + head * config.head_dim);
  }
  if (item.span < 0 || item.span == segment.start / kSpan) {
    write_head(step, index, segment, segment.first, item.kv_head);
  }
  attend(window.shape, item, segment, step.cache[index], queries, 0, mixed_.floats(), width,
         partials(), workspace, upcoming);
}

void Decoder::State::attend_layer(Pool& pool, const DecoderStep& step, int64_t index, int thread) {
  const Window& window = window_of(layers[static_cast<size_t>(index)]);
  if (!single_) {
    turn_rows(step, index, thread);
    pool.barrier();
  }
  const auto count = static_cast<int64_t>(window.plan.items.size());
  // One thread takes all heads of a span where there are spans enough: it reads the memory in its
  // order, which is up to 1.4 times as fast.
  const bool together = single_ && count >= 4 * threads_ * config.kv_heads;
  const int64_t taken = together ? config.kv_heads : 1;
  std::atomic<int64_t>& next = next_item_[static_cast<size_t>(index)];
  for (int64_t i = next.fetch_add(taken); i < count; i = next.fetch_add(taken)) {
    // Probably this thread's next ones.
    const int64_t ahead = i + threads_ * taken;
    for (int64_t k = 0; k < taken; ++k) {
      Upcoming upcoming;
      if (single_ && ahead < count) {
        const AttentionItem& item = window.plan.items[static_cast<size_t>(ahead)];
        upcoming = Upcoming(window.shape, item, step.segment[item.segment], step.cache[index],
                            taken, k, taken);
      }
      attend_item(step, index, window.plan.items[static_cast<size_t>(i + k)], upcoming, thread);
    }
  }
  pool.barrier();
}

// What the heads of a row mixed: target may be where it is already.
void Decoder::State::merge_row(const DecoderStep& step, const Window& window, int64_t row,
                               float* target, int thread) {
  const int64_t width = config.heads * config.head_dim;
  const int64_t split = window.plan.split_of_row[static_cast<size_t>(row)];
  const float* const mixed = mixed_.floats() + row * width;
  if (split >= 0) {
    const AttentionItem* const first = &window.plan.split[static_cast<size_t>(split)];
    merge_partials(window.shape, first, step.segment[first->segment], partials(), target,
                   own(thread).attention.floats());
  } else if (target != mixed) {
    std::memcpy(target, mixed, static_cast<size_t>(width) * sizeof(float));
  }
}

// Past the last attention only rows that are wanted matter.
void Decoder::State::pick_outputs(Pool& pool, const DecoderStep& step, const Window& window,
                                  int thread) {
  const int64_t width = config.heads * config.head_dim;
  each_row(outputs_, thread, [&](int64_t i) {
    const int64_t row = step.output_rows[i];
    merge_row(step, window, row, picked_mixed_.floats() + i * width, thread);
    std::memcpy(picked_hidden_.floats() + i * config.hidden, hidden_.floats() + row * config.hidden,
                static_cast<size_t>(config.hidden) * sizeof(float));
  });
  pool.barrier();
}

}  // namespace sagellm
