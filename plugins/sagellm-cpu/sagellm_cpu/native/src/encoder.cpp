#include "encoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <mutex>
#include <new>
#include <vector>

#include "attention_ahead.h"
#include "buffer.h"
#include "decoder.h"
#include "row_math.h"

namespace sagellm {

namespace {

// Rows that a thread takes through the layers at a time: the widest of what lies between two
// layers, and the weights of a layer, share the second-level cache.
constexpr int64_t kBlockRows = 96;

// All of a text is one block.
constexpr int64_t kNoBlocks = int64_t{1} << 40;
constexpr int64_t kOnlyBlock = 0;

// Multiplied with on one thread: others take other rows.
void alone(const Weight& weight, const Rows& rows, float* y, Output output) {
  linear(weight, rows, y, weight.out, output, 0, 1);
}

}  // namespace

struct Encoder::State {
  // A thread's own memory.
  struct Own {
    Buffer attention;
    Buffer quantised;
    Buffer between;  // [block rows, intermediate]
    Buffer mixed;    // [block rows, hidden]: of rows that are wanted
  };

  State(const EncoderConfig& config_, const EncoderLayer* layers_, const EncoderTables& tables_)
      : config(config_), layers(layers_, layers_ + config_.layers), tables(tables_) {}

  int32_t check(const EncoderPass& pass) const;
  // Everything that may fail, before any thread begins. Throws std::bad_alloc.
  void prepare(const EncoderPass& pass, int threads);
  // A thread's share of a pass.
  void run(Pool& pool, const EncoderPass& pass, int thread);
  void release();

  const EncoderConfig config;
  const std::vector<EncoderLayer> layers;
  const EncoderTables tables;
  std::mutex mutex;

 private:
  void embed(const EncoderPass& pass, int64_t first, int64_t count);
  void attend_layer(size_t index, Own& own);
  void finish_layer(const EncoderPass& pass, size_t index, int64_t first, int64_t count, Own& own);
  void project(size_t index, int64_t first, int64_t count, Own& own);
  Rows inputs(const Weight& weight, const float* x, int64_t count, Own& own) const;
  void norm(const EncoderNorm& by, float* rows, int64_t count) const;
  // body(first row, count) of blocks that together are `rows` rows, for the blocks that this
  // thread takes.
  template <class Body>
  void each_block(size_t phase, int64_t rows, Body body);

  int threads_ = 0;
  AttentionShape shape_ = {};
  AttentionPlan plan_;
  std::vector<Segment> segments_;
  // The next item of attention of each layer, and the next block of rows of each phase.
  std::vector<std::atomic<int64_t>> next_item_, next_block_;
  std::deque<Own> own_;
  Buffer hidden_, qkv_, mixed_;
};

int32_t Encoder::State::check(const EncoderPass& pass) const {
  if (pass.rows < 1 || pass.texts < 1) return kBadShape;
  int64_t rows = 0, longest = 0;
  for (int64_t i = 0; i < pass.texts; ++i) {
    if (pass.lengths[i] < 1) return kBadShape;
    rows += pass.lengths[i];
    longest = std::max(longest, pass.lengths[i]);
  }
  if (rows != pass.rows || (pass.bias != nullptr && pass.bias_size < longest)) return kBadShape;
  for (int64_t i = 0; i < pass.rows; ++i) {
    if (pass.tokens[i] < 0 || pass.tokens[i] >= config.vocab) return kBadToken;
    if (pass.places[i] < 0 || pass.places[i] >= config.positions) return kBadShape;
  }
  for (int64_t i = 0; i < pass.outputs; ++i) {
    if (pass.output_rows[i] < 0 || pass.output_rows[i] >= pass.rows) return kBadShape;
  }
  return kDone;
}

void Encoder::State::prepare(const EncoderPass& pass, int threads) {
  threads_ = threads;
  const int64_t head_dim = config.hidden / config.heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  shape_ = {config.heads, config.heads, head_dim, kNoBlocks, scale, 0.0f, 0, 3 * config.hidden,
            true,         pass.bias,    pass.bias_size};
  segments_.clear();
  int64_t first = 0;
  for (int64_t i = 0; i < pass.texts; ++i) {
    segments_.push_back({first, pass.lengths[i], 0, &kOnlyBlock});
    first += pass.lengths[i];
  }
  plan_ = plan_attention(shape_, segments_.data(), pass.texts, pass.rows);
  next_item_ = std::vector<std::atomic<int64_t>>(layers.size());
  next_block_ = std::vector<std::atomic<int64_t>>(layers.size() + 1);
  for (std::atomic<int64_t>& next : next_item_) next = 0;
  for (std::atomic<int64_t>& next : next_block_) next = 0;

  hidden_.reserve_floats(pass.rows * config.hidden);
  qkv_.reserve_floats(pass.rows * 3 * config.hidden);
  mixed_.reserve_floats(pass.rows * config.hidden);
  size_t quantised = 0;
  for (const EncoderLayer& layer : layers) {
    for (const Weight* weight : {&layer.qkv, &layer.output, &layer.up, &layer.down}) {
      if (weight->arithmetic != kInt8) continue;
      quantised = std::max(quantised, quantised_bytes(kBlockRows, weight->in, weight->group));
    }
  }
  while (own_.size() < static_cast<size_t>(threads)) own_.emplace_back();
  for (Own& own : own_) {
    own.attention.reserve_floats(attention_workspace(shape_));
    own.quantised.reserve(quantised);
    own.between.reserve_floats(kBlockRows * config.intermediate);
    own.mixed.reserve_floats(kBlockRows * config.hidden);
  }
}

void Encoder::State::release() {
  own_.clear();
  for (Buffer* const buffer : {&hidden_, &qkv_, &mixed_}) buffer->release();
}

template <class Body>
void Encoder::State::each_block(size_t phase, int64_t rows, Body body) {
  // As many for each thread, and all of about one size.
  const int64_t least = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t blocks = std::min((least + threads_ - 1) / threads_ * threads_, rows);
  for (int64_t i = next_block_[phase]++; i < blocks; i = next_block_[phase]++) {
    const int64_t first = rows * i / blocks;
    body(first, rows * (i + 1) / blocks - first);
  }
}

Rows Encoder::State::inputs(const Weight& weight, const float* x, int64_t count, Own& own) const {
  if (weight.arithmetic != kInt8) return {x, weight.in, count, nullptr};
  for (int64_t row = 0; row < count; ++row) {
    quantise_row(x + row * weight.in, weight.in, weight.group, row, count, own.quantised.bytes());
  }
  return {x, weight.in, count, own.quantised.bytes()};
}

void Encoder::State::norm(const EncoderNorm& by, float* rows, int64_t count) const {
  for (int64_t row = 0; row < count; ++row) {
    float* const x = rows + row * config.hidden;
    layer_norm(x, by.weight, by.bias, config.hidden, config.norm_eps, x);
  }
}

void Encoder::State::embed(const EncoderPass& pass, int64_t first, int64_t count) {
  for (int64_t row = first; row < first + count; ++row) {
    float* const x = hidden_.floats() + row * config.hidden;
    std::copy_n(tables.words + pass.tokens[row] * config.hidden, config.hidden, x);
    add_row(x, tables.positions + pass.places[row] * config.hidden, config.hidden);
  }
  norm(tables.norm, hidden_.floats() + first * config.hidden, count);
}

// Queries, keys and values of rows.
void Encoder::State::project(size_t index, int64_t first, int64_t count, Own& own) {
  const Weight& weight = layers[index].qkv;
  const Rows rows = inputs(weight, hidden_.floats() + first * config.hidden, count, own);
  alone(weight, rows, qkv_.floats() + first * weight.out, kStore);
}

void Encoder::State::attend_layer(size_t index, Own& own) {
  const auto count = static_cast<int64_t>(plan_.items.size());
  const int64_t width = config.hidden;
  for (int64_t i = next_item_[index]++; i < count; i = next_item_[index]++) {
    const AttentionItem& item = plan_.items[static_cast<size_t>(i)];
    const Segment& segment = segments_[static_cast<size_t>(item.segment)];
    float* const text = qkv_.floats() + segment.first * 3 * width;
    attend(shape_, item, segment, {text + width, text + 2 * width}, qkv_.floats(), 3 * width,
           mixed_.floats(), width, {}, own.attention.floats(), Upcoming());
  }
}

// From what attention mixed to the layer's output, of `count` rows. Past the last attention only
// rows that are wanted matter.
void Encoder::State::finish_layer(const EncoderPass& pass, size_t index, int64_t first,
                                  int64_t count, Own& own) {
  const EncoderLayer& layer = layers[index];
  const int64_t width = config.hidden;
  float* mixed = mixed_.floats() + first * width;
  float* hidden = hidden_.floats() + first * width;
  if (index + 1 == layers.size()) {
    float* const target = pass.hidden + first * width;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = pass.outputs < 0 ? first + i : pass.output_rows[first + i];
      std::copy_n(hidden_.floats() + row * width, width, target + i * width);
      std::copy_n(mixed_.floats() + row * width, width, own.mixed.floats() + i * width);
    }
    hidden = target;
    mixed = own.mixed.floats();
  }
  alone(layer.output, inputs(layer.output, mixed, count, own), hidden, kAdd);
  norm(layer.attention_norm, hidden, count);
  float* const between = own.between.floats();
  alone(layer.up, inputs(layer.up, hidden, count, own), between, kStore);
  activate(config.activation, between, nullptr, count * config.intermediate, between);
  alone(layer.down, inputs(layer.down, between, count, own), hidden, kAdd);
  norm(layer.output_norm, hidden, count);
}

void Encoder::State::run(Pool& pool, const EncoderPass& pass, int thread) {
  Own& own = own_[static_cast<size_t>(thread)];
  each_block(0, pass.rows, [&](int64_t first, int64_t count) {
    embed(pass, first, count);
    project(0, first, count, own);
  });
  for (size_t index = 0; index < layers.size(); ++index) {
    pool.barrier();
    attend_layer(index, own);
    pool.barrier();
    const bool last = index + 1 == layers.size();
    const int64_t rows = last && pass.outputs >= 0 ? pass.outputs : pass.rows;
    each_block(index + 1, rows, [&](int64_t first, int64_t count) {
      finish_layer(pass, index, first, count, own);
      if (!last) project(index + 1, first, count, own);
    });
  }
}

Encoder::Encoder(const EncoderConfig& config, const EncoderLayer* layers,
                 const EncoderTables& tables)
    : state_(new State(config, layers, tables)) {}

Encoder::~Encoder() = default;

int32_t Encoder::pass(Pool& pool, const EncoderPass& pass) {
  const std::lock_guard<std::mutex> turn(state_->mutex);
  const int32_t wrong = state_->check(pass);
  if (wrong != kDone) return wrong;
  try {
    state_->prepare(pass, pool.threads());
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  pool.run([&](int thread) { state_->run(pool, pass, thread); });
  return kDone;
}

void Encoder::release() {
  const std::lock_guard<std::mutex> turn(state_->mutex);
  state_->release();
}

}  // namespace sagellm
