// Attention over a paged cache of keys and values, or over those of whole texts.
//
// Keys are taken in spans of kSpan, cut at multiples of kSpan of the sequence. Within a span every
// sum is taken in one order, and spans are merged in the order of their positions; so a token's
// result depends neither on the chunk it was computed in, nor on the batch or the threads.
#pragma once

#include <cstdint>
#include <vector>

namespace sagellm {

class Upcoming;  // attention_ahead.h

constexpr int64_t kSpan = 128;

// One layer's cache: keys and values, each [blocks, block_size, kv_heads, head_dim] floats.
struct LayerCache {
  float* keys;
  float* values;
};

// One sequence of a step.
struct Segment {
  int64_t first;          // its rows in the step: first to first + count
  int64_t count;
  int64_t start;          // its tokens in the cache before this step
  const int64_t* blocks;  // its blocks, enough for start + count tokens
};

struct AttentionShape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t block_size;
  float scale;
  float softcap;   // 0: none
  int64_t window;  // tokens that a token sees, itself among them; 0: all
  int64_t token_stride;  // floats from one token of the cache to the next
  bool full;             // a token sees those after it, too: there is no window then
  const float* bias;     // added to scores, [heads, bias_size, bias_size] by positions, or null
  int64_t bias_size;
};

// A piece of attention that one thread computes: some rows of one sequence with the query heads of
// one key-value head, over all of their keys or (span >= 0) over one span of them.
struct AttentionItem {
  int32_t segment;
  int32_t kv_head;
  int64_t row;      // first row, in the sequence's chunk
  int64_t rows;
  int64_t span;     // -1: all
  int64_t partial;  // where the partial result goes, counted in lines
};

// What an item over one span of several leaves, for merge_partials(): of each line (a query head of
// a row) its largest score, the sum of weights and the weighted values [padded head_dim].
struct Partials {
  float* largest;
  float* sums;
  float* values;
};

// The items of a step, those of all key-value heads side by side: their memory is, too. Sequences
// with one row are split by spans, where there are several.
struct AttentionPlan {
  std::vector<AttentionItem> items;
  std::vector<AttentionItem> split;  // the first item of each key-value head of a split row
  std::vector<int64_t> split_of_row;  // where a row's begin in `split`, or -1
  int64_t partial_lines = 0;
};

AttentionPlan plan_attention(const AttentionShape& shape, const Segment* segments,
                             int64_t segment_count, int64_t rows);

// First position that a token at `position` sees.
inline int64_t lowest_seen(int64_t position, int64_t window) {
  return window > 0 && position + 1 > window ? position + 1 - window : 0;
}

inline int64_t padded_head(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Floats of a thread's workspace.
int64_t attention_workspace(const AttentionShape& shape);

// Computes an item.
//   queries: row 0 of the step, [rows, query_stride], query heads side by side, ready to multiply
//   out: [rows, out_stride], heads side by side; written unless the item is one span of several
//   upcoming: what is asked of memory meanwhile
void attend(const AttentionShape& shape, const AttentionItem& item, const Segment& segment,
            const LayerCache& cache, const float* queries, int64_t query_stride, float* out,
            int64_t out_stride, const Partials& partials, float* workspace, Upcoming upcoming);

// Merges the spans of the heads of a split row.
//   first: its items in AttentionPlan::split; out: [heads, head_dim]
void merge_partials(const AttentionShape& shape, const AttentionItem* first,
                    const Segment& segment, const Partials& partials, float* out,
                    float* workspace);

// Where a token's key or value of one head lies in the cache.
inline int64_t cache_offset(const AttentionShape& shape, const Segment& segment, int64_t position,
                            int64_t kv_head) {
  const int64_t block = segment.blocks[position / shape.block_size];
  const int64_t token = block * shape.block_size + position % shape.block_size;
  return token * shape.token_stride + kv_head * shape.head_dim;
}

}  // namespace sagellm
