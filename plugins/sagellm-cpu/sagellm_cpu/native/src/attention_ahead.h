// Keys and values asked of memory before the item that reads them begins.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attention.h"

namespace sagellm {

// What one row of a sequence will read of the cache: nobody read it in this step before, so that
// memory sets the pace, and computing would wait for it.
class Upcoming {
 public:
  // Nothing.
  Upcoming() = default;

  // A part of what `item`, which has one row and one span, reads: part `share` of `shares` of its
  // tokens, for `heads` heads from its own on, which lie side by side.
  Upcoming(const AttentionShape& shape, const AttentionItem& item, const Segment& segment,
           const LayerCache& cache, int64_t heads, int64_t share, int64_t shares)
      : shape_(&shape), segment_(&segment), cache_(&cache), kv_head_(item.kv_head),
        width_(heads * shape.head_dim) {
    const int64_t lowest = lowest_seen(segment.start, shape.window);
    const int64_t span = item.span >= 0 ? item.span : segment.start / kSpan;
    const int64_t first = std::max(span * kSpan, lowest);
    // The token of this step is written later, by who computes.
    const int64_t count = std::max<int64_t>(std::min((span + 1) * kSpan, segment.start) - first, 0);
    next_ = first + count * share / shares;
    end_ = first + count * (share + 1) / shares;
  }

  // Of how many pieces fetch() asks for one.
  void divide(int64_t pieces) {
    piece_ = (end_ - next_ + pieces - 1) / std::max<int64_t>(pieces, 1);
  }

  void fetch() {
    const int64_t end = std::min(next_ + piece_, end_);
    for (; next_ < end; ++next_) {
      const int64_t offset = cache_offset(*shape_, *segment_, next_, kv_head_);
      for (int64_t i = 0; i < width_; i += 16) {
        // To the second-level cache: in the first one it would be in the way.
        __builtin_prefetch(cache_->keys + offset + i, 0, 2);
        __builtin_prefetch(cache_->values + offset + i, 0, 2);
      }
    }
  }

 private:
  const AttentionShape* shape_ = nullptr;
  const Segment* segment_ = nullptr;
  const LayerCache* cache_ = nullptr;
  int64_t kv_head_ = 0, width_ = 0, next_ = 0, end_ = 0, piece_ = 0;
};

}  // namespace sagellm
