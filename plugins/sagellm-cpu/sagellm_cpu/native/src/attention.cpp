#include "attention.h"

#include <cmath>
#include <limits>

#include "attention_ahead.h"
#include "math_lanes.h"
#include "transpose.h"

namespace sagellm {

using lanes::Floats;

namespace {

// Lines and vectors of a tile of accumulators, which the registers hold.
#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int kLines = 6, kVectors = 4;
#elif defined(__AVX2__) || defined(__ARM_NEON)
constexpr int kLines = 2, kVectors = 2;
#else
constexpr int kLines = 2, kVectors = 1;
#endif

constexpr int64_t kChunk = 64;        // keys that are transposed together
constexpr int64_t kLinesOfItem = 48;  // about as many lines share a span of keys and values
constexpr float kNone = -std::numeric_limits<float>::infinity();

int64_t group_of(const AttentionShape& shape) { return shape.heads / shape.kv_heads; }

int64_t rows_of_item(const AttentionShape& shape) {
  const int64_t group = group_of(shape);
  return group < kLinesOfItem ? kLinesOfItem / group : 1;
}

// A thread's buffers.
struct Space {
  Space(const AttentionShape& shape, float* at) {
    const int64_t lines = rows_of_item(shape) * group_of(shape);
    const int64_t dim = padded_head(shape.head_dim);
    queries = take(at, lines * dim);
    columns = take(at, dim * kChunk);
    scores = take(at, lines * kSpan);
    span_values = take(at, lines * dim);
    values = take(at, lines * dim);
    tail = take(at, kSpan * dim);
    largest = take(at, lines);
    sums = take(at, lines);
    span_largest = take(at, lines);
    span_sums = take(at, lines);
    end = at;
  }

  static float* take(float*& at, int64_t count) {
    float* const taken = at;
    at += (count + 15) / 16 * 16;
    return taken;
  }

  float* queries;      // [lines, dim], scaled
  float* columns;      // [dim, kChunk]: keys, transposed
  float* scores;       // [lines, kSpan]
  float* span_values;  // [lines, dim]: weighted values of one span
  float* values;       // [lines, dim]: of all spans so far
  float* tail;         // [kSpan, dim]: values whose width is no multiple of the lanes
  float *largest, *sums, *span_largest, *span_sums;  // [lines]
  float* end;
};

// Asks for what a head keeps of some tokens: with one row to a sequence nobody read it before.
inline void fetch_heads(const float* heads, const int64_t* offsets, int64_t count,
                        int64_t head_dim) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t dim = 0; dim < head_dim; dim += 16) __builtin_prefetch(heads + offsets[i] + dim);
  }
}

// Keys [dim, kChunk] of up to kChunk tokens; missing ones are zeros.
void load_columns(const float* keys, const int64_t* offsets, int64_t count, int64_t head_dim,
                  float* columns, Upcoming& upcoming) {
  for (int64_t key = 0; key < count; key += 16) {
    upcoming.fetch();
    const int present = static_cast<int>(count - key < 16 ? count - key : 16);
    for (int64_t dim = 0; dim < head_dim; dim += 16) {
      const int width = static_cast<int>(head_dim - dim < 16 ? head_dim - dim : 16);
      Floats row[16];
      for (int i = 0; i < 16; ++i) {
        const float* const source = keys + offsets[key + (i < present ? i : 0)] + dim;
        row[i] = i >= present   ? lanes::set_float(0.0f)
                 : width == 16 ? lanes::load(source)
                               : lanes::load_some(source, width);
      }
      lanes::transpose16(row, columns + dim * kChunk + key, kChunk);
    }
  }
}

template <int kCount>
void score_tile(const float* queries, int64_t stride, int64_t head_dim, const float* columns,
                float* scores) {
  Floats acc[kCount][kVectors];
  for (int line = 0; line < kCount; ++line) {
    for (int v = 0; v < kVectors; ++v) acc[line][v] = lanes::set_float(0.0f);
  }
  for (int64_t dim = 0; dim < head_dim; ++dim) {
    Floats key[kVectors];
    for (int v = 0; v < kVectors; ++v) key[v] = lanes::load(columns + dim * kChunk + 16 * v);
    for (int line = 0; line < kCount; ++line) {
      const Floats query = lanes::set_float(queries[line * stride + dim]);
      for (int v = 0; v < kVectors; ++v) acc[line][v] = lanes::fma(query, key[v], acc[line][v]);
    }
  }
  for (int line = 0; line < kCount; ++line) {
    for (int v = 0; v < kVectors; ++v) lanes::store(scores + line * kSpan + 16 * v, acc[line][v]);
  }
}

// Weighted values of lines, over keys in their order, for kWidth vectors of the head.
template <int kCount, int kWidth>
void value_tile(const float* weights, const float* values, const int64_t* offsets, int64_t count,
                float* out, int64_t stride) {
  Floats acc[kCount][kWidth];
  for (int line = 0; line < kCount; ++line) {
    for (int v = 0; v < kWidth; ++v) acc[line][v] = lanes::set_float(0.0f);
  }
  for (int64_t key = 0; key < count; ++key) {
    const float* const source = values + offsets[key];
    Floats value[kWidth];
    for (int v = 0; v < kWidth; ++v) value[v] = lanes::load(source + 16 * v);
    for (int line = 0; line < kCount; ++line) {
      const Floats weight = lanes::set_float(weights[line * kSpan + key]);
      for (int v = 0; v < kWidth; ++v) acc[line][v] = lanes::fma(weight, value[v], acc[line][v]);
    }
  }
  for (int line = 0; line < kCount; ++line) {
    for (int v = 0; v < kWidth; ++v) lanes::store(out + line * stride + 16 * v, acc[line][v]);
  }
}

// Calls body(std::integral_constant) of a number of lines known to the compiler.
template <int kCount>
struct Count {
  static constexpr int value = kCount;
};
template <class Body>
inline void with_lines(int64_t lines, Body body) {
  switch (lines) {
    case 1:
      return body(Count<1>());
    case 2:
      return body(Count<2>());
#if defined(__AVX512F__) && defined(__AVX512BW__)
    case 3:
      return body(Count<3>());
    case 4:
      return body(Count<4>());
    case 5:
      return body(Count<5>());
    default:
      return body(Count<6>());
#else
    default:
      return body(Count<2>());
#endif
  }
}

void score_lines(const Space& space, int64_t lines, int64_t dim, int64_t head_dim, int64_t key,
                 int64_t count) {
  for (int64_t line = 0; line < lines; line += kLines) {
    const int64_t taken = lines - line < kLines ? lines - line : kLines;
    for (int64_t at = 0; at < count; at += 16 * kVectors) {
      with_lines(taken, [&](auto number) {
        score_tile<decltype(number)::value>(space.queries + line * dim, dim, head_dim,
                                            space.columns + at,
                                            space.scores + line * kSpan + key + at);
      });
    }
  }
}

template <int kWidth>
void weigh_columns(const Space& space, int64_t lines, int64_t dim, int64_t from, int64_t first,
                   int64_t count, const float* values, const int64_t* offsets) {
  for (int64_t line = 0; line < lines; line += kLines) {
    const int64_t taken = lines - line < kLines ? lines - line : kLines;
    with_lines(taken, [&](auto number) {
      value_tile<decltype(number)::value, kWidth>(
          space.scores + line * kSpan + first, values + from, offsets + first, count,
          space.span_values + line * dim + from, dim);
    });
  }
}

void weigh_values(const Space& space, const AttentionShape& shape, int64_t lines, int64_t first,
                  int64_t count, const float* values, const int64_t* offsets) {
  const int64_t dim = padded_head(shape.head_dim);
  int64_t own[kSpan];
  if (dim != shape.head_dim) {
    for (int64_t key = first; key < first + count; ++key) {
      float* const row = space.tail + key * dim;
      for (int64_t i = 0; i < dim; ++i) {
        row[i] = i < shape.head_dim ? values[offsets[key] + i] : 0.0f;
      }
      own[key] = key * dim;
    }
    values = space.tail;
    offsets = own;
  }
  int64_t from = 0;
  for (; from + 16 * kVectors <= dim; from += 16 * kVectors) {
    weigh_columns<kVectors>(space, lines, dim, from, first, count, values, offsets);
  }
  for (; from < dim; from += 16) {
    weigh_columns<1>(space, lines, dim, from, first, count, values, offsets);
  }
}

// Scores of one line become weights. [first, end) are multiples of the lanes; what lies outside
// [low, high) is not seen.
void soften(float* scores, int64_t first, int64_t end, int64_t low, int64_t high, float softcap,
            float* largest, float* total) {
  for (int64_t i = first; i < low && i < end; ++i) scores[i] = kNone;
  for (int64_t i = high > first ? high : first; i < end; ++i) scores[i] = kNone;
  *largest = kNone;
  *total = 0.0f;
  if (low >= high) {
    for (int64_t i = first; i < end; ++i) scores[i] = 0.0f;
    return;
  }
  if (softcap > 0.0f) {
    const Floats cap = lanes::set_float(softcap), inverse = lanes::set_float(1.0f / softcap);
    for (int64_t i = first; i < end; i += 16) {
      const Floats capped = lanes::hyperbolic_tangent(lanes::mul(lanes::load(scores + i), inverse));
      lanes::store(scores + i, lanes::mul(capped, cap));
    }
    // The cap of minus infinity is a number.
    for (int64_t i = first; i < low; ++i) scores[i] = kNone;
    for (int64_t i = high; i < end; ++i) scores[i] = kNone;
  }
  Floats most = lanes::load(scores + first);
  for (int64_t i = first + 16; i < end; i += 16) most = lanes::max(most, lanes::load(scores + i));
  *largest = lanes::largest(most);
  const Floats shift = lanes::set_float(*largest);
  Floats sums = lanes::set_float(0.0f);
  for (int64_t i = first; i < end; i += 16) {
    const Floats weight = lanes::exponential(lanes::sub(lanes::load(scores + i), shift));
    lanes::store(scores + i, weight);
    sums = lanes::add(sums, weight);
  }
  *total = lanes::sum(sums);
}

// Adds what positions give to the scores of a line, of `count` keys.
void add_bias(const float* bias, int64_t count, float* scores) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    lanes::store(scores + i, lanes::add(lanes::load(scores + i), lanes::load(bias + i)));
  }
  if (i < count) {
    const Floats added = lanes::load_some(bias + i, static_cast<int>(count - i));
    lanes::store(scores + i, lanes::add(lanes::load(scores + i), added));
  }
}

float exponential_of(float x) {
  float lane[16];
  lanes::store(lane, lanes::exponential(lanes::set_float(x)));
  return lane[0];
}

// Adds a span's result to what the spans before it gave. Never inlined: every caller has to get
// the same roundings.
__attribute__((noinline)) void merge_line(float* largest, float* total, float* values,
                                          float span_largest, float span_total,
                                          const float* span_values, int64_t dim) {
  if (span_largest == kNone) return;
  if (*largest == kNone) {
    *largest = span_largest;
    *total = span_total;
    for (int64_t i = 0; i < dim; i += 16) lanes::store(values + i, lanes::load(span_values + i));
    return;
  }
  const float both = *largest > span_largest ? *largest : span_largest;
  const float old = exponential_of(*largest - both), fresh = exponential_of(span_largest - both);
  const Floats olds = lanes::set_float(old), freshes = lanes::set_float(fresh);
  for (int64_t i = 0; i < dim; i += 16) {
    const Floats kept = lanes::mul(lanes::load(values + i), olds);
    lanes::store(values + i, lanes::fma(lanes::load(span_values + i), freshes, kept));
  }
  *largest = both;
  *total = *total * old + span_total * fresh;
}

void write_line(const float* values, float total, int64_t head_dim, float* out) {
  const Floats inverse = lanes::set_float(1.0f / total);
  for (int64_t i = 0; i < head_dim; i += 16) {
    const Floats mixed = lanes::mul(lanes::load(values + i), inverse);
    if (head_dim - i >= 16) {
      lanes::store(out + i, mixed);
    } else {
      lanes::store_some(out + i, mixed, static_cast<int>(head_dim - i));
    }
  }
}

}  // namespace

int64_t attention_workspace(const AttentionShape& shape) {
  float* const nowhere = nullptr;
  return Space(shape, nowhere).end - nowhere;
}

AttentionPlan plan_attention(const AttentionShape& shape, const Segment* segments,
                             int64_t segment_count, int64_t rows) {
  AttentionPlan plan;
  plan.split_of_row.assign(static_cast<size_t>(rows), -1);
  const int64_t group = group_of(shape), step = rows_of_item(shape);
  for (int64_t s = 0; s < segment_count; ++s) {
    const Segment& segment = segments[s];
    const auto number = static_cast<int32_t>(s);
    const int64_t low = lowest_seen(segment.start, shape.window) / kSpan;
    const int64_t high = (segment.start + segment.count - 1) / kSpan;
    if (segment.count > 1 || low == high) {
      // Last rows first: they see the most keys.
      for (int64_t row = (segment.count - 1) / step * step; row >= 0; row -= step) {
        const int64_t taken = segment.count - row < step ? segment.count - row : step;
        for (int32_t head = 0; head < shape.kv_heads; ++head) {
          plan.items.push_back({number, head, row, taken, -1, 0});
        }
      }
      continue;
    }
    plan.split_of_row[static_cast<size_t>(segment.first)] =
        static_cast<int64_t>(plan.split.size());
    for (int64_t span = low; span <= high; ++span) {
      for (int32_t head = 0; head < shape.kv_heads; ++head) {
        plan.items.push_back({number, head, 0, 1, span, plan.partial_lines});
        if (span == low) plan.split.push_back(plan.items.back());
        plan.partial_lines += group;
      }
    }
  }
  return plan;
}

void attend(const AttentionShape& shape, const AttentionItem& item, const Segment& segment,
            const LayerCache& cache, const float* queries, int64_t query_stride, float* out,
            int64_t out_stride, const Partials& partials, float* workspace, Upcoming upcoming) {
  const Space space(shape, workspace);
  const int64_t group = group_of(shape), head_dim = shape.head_dim, dim = padded_head(head_dim);
  const int64_t lines = item.rows * group;
  const int64_t first_position = segment.start + item.row;
  const int64_t last_position = first_position + item.rows - 1;
  for (int64_t line = 0; line < lines; ++line) {
    const int64_t row = segment.first + item.row + line / group;
    const int64_t head = item.kv_head * group + line % group;
    const float* const source = queries + row * query_stride + head * head_dim;
    float* const target = space.queries + line * dim;
    for (int64_t i = 0; i < head_dim; ++i) target[i] = source[i] * shape.scale;
    space.largest[line] = kNone;
    space.sums[line] = 0.0f;
  }
  const int64_t lowest = lowest_seen(first_position, shape.window);
  const int64_t highest = shape.full ? segment.start + segment.count - 1 : last_position;
  const int64_t first_span = item.span >= 0 ? item.span : lowest / kSpan;
  const int64_t last_span = item.span >= 0 ? item.span : highest / kSpan;
  for (int64_t span = first_span; span <= last_span; ++span) {
    const int64_t origin = span * kSpan;
    // Keys of this span, counted from its origin, that any line sees; the first one at a multiple
    // of a chunk, so that a key has its lane whatever the window.
    const int64_t end = highest + 1 - origin < kSpan ? highest + 1 - origin : kSpan;
    const int64_t first = lowest > origin ? (lowest - origin) / kChunk * kChunk : 0;
    const int64_t padded_end = (end + 15) / 16 * 16;
    upcoming.divide((end - first + 15) / 16);
    int64_t offsets[kSpan];
    for (int64_t key = first; key < end; ++key) {
      offsets[key] = cache_offset(shape, segment, origin + key, item.kv_head);
    }
    for (int64_t key = first; key < end; key += kChunk) {
      const int64_t count = end - key < kChunk ? end - key : kChunk;
      if (lines <= kLines) fetch_heads(cache.values, offsets + key, count, head_dim);
      load_columns(cache.keys, offsets + key, count, head_dim, space.columns, upcoming);
      score_lines(space, lines, dim, head_dim, key, count);
    }
    for (int64_t line = 0; line < lines; ++line) {
      const int64_t position = first_position + line / group;
      const int64_t low = lowest_seen(position, shape.window) - origin;
      const int64_t high = shape.full ? end : position + 1 - origin;
      if (shape.bias != nullptr) {
        const int64_t head = item.kv_head * group + line % group;
        const int64_t row = head * shape.bias_size + position;
        add_bias(shape.bias + row * shape.bias_size + origin + first, end - first,
                 space.scores + line * kSpan + first);
      }
      soften(space.scores + line * kSpan, first, padded_end, low > first ? low : first,
             high < end ? high : end, shape.softcap, space.span_largest + line,
             space.span_sums + line);
    }
    weigh_values(space, shape, lines, first, end - first, cache.values, offsets);
    if (item.span >= 0) {
      const int64_t at = item.partial;
      for (int64_t line = 0; line < lines; ++line) {
        partials.largest[at + line] = space.span_largest[line];
        partials.sums[at + line] = space.span_sums[line];
        for (int64_t i = 0; i < dim; i += 16) {
          lanes::store(partials.values + (at + line) * dim + i,
                       lanes::load(space.span_values + line * dim + i));
        }
      }
      return;
    }
    for (int64_t line = 0; line < lines; ++line) {
      merge_line(space.largest + line, space.sums + line, space.values + line * dim,
                 space.span_largest[line], space.span_sums[line], space.span_values + line * dim,
                 dim);
    }
  }
  for (int64_t line = 0; line < lines; ++line) {
    const int64_t row = segment.first + item.row + line / group;
    const int64_t head = item.kv_head * group + line % group;
    write_line(space.values + line * dim, space.sums[line], head_dim,
               out + row * out_stride + head * head_dim);
  }
}

void merge_partials(const AttentionShape& shape, const AttentionItem* first,
                    const Segment& segment, const Partials& partials, float* out,
                    float* workspace) {
  const Space space(shape, workspace);
  const int64_t group = group_of(shape), dim = padded_head(shape.head_dim);
  const int64_t last = segment.start / kSpan;
  // Heads lie side by side in each span.
  const int64_t stride = shape.kv_heads * group;
  for (int64_t head = 0; head < shape.heads; ++head) {
    const AttentionItem& item = first[head / group];
    float largest = kNone, total = 0.0f;
    for (int64_t span = item.span; span <= last; ++span) {
      const int64_t at = item.partial + (span - item.span) * stride + head % group;
      merge_line(&largest, &total, space.values, partials.largest[at], partials.sums[at],
                 partials.values + at * dim, dim);
    }
    write_line(space.values, total, shape.head_dim, out + head * shape.head_dim);
  }
}

}  // namespace sagellm
