#include "decoder.h"

#include <new>

#include "decoder_state.h"

namespace sagellm {

Decoder::Decoder(const DecoderConfig& config, const DecoderLayer* layers, const DecoderEnds& ends)
    : state_(new State(config, layers, ends)) {}

Decoder::~Decoder() = default;

namespace {

int32_t check(const DecoderConfig& config, const DecoderStep& step) {
  if (step.rows < 1 || step.segments < 1 || step.block_size < 1) return kBadShape;
  int64_t next = 0;
  for (int64_t s = 0; s < step.segments; ++s) {
    const Segment& segment = step.segment[s];
    if (segment.first != next || segment.count < 1 || segment.start < 0) return kBadShape;
    next += segment.count;
    const int64_t used = (segment.start + segment.count - 1) / step.block_size + 1;
    for (int64_t i = 0; i < used; ++i) {
      if (segment.blocks[i] < 0 || segment.blocks[i] >= step.blocks) return kBadBlock;
    }
  }
  if (next != step.rows) return kBadShape;
  for (int64_t i = 0; i < step.rows; ++i) {
    if (step.tokens[i] < 0 || step.tokens[i] >= config.vocab) return kBadToken;
  }
  for (int64_t i = 0; i < step.outputs; ++i) {
    if (step.output_rows[i] < 0 || step.output_rows[i] >= step.rows) return kBadShape;
  }
  return kDone;
}

}  // namespace

int32_t Decoder::step(Pool& pool, const DecoderStep& step) {
  const std::lock_guard<std::mutex> turn(state_->mutex);
  const int32_t wrong = check(state_->config, step);
  if (wrong != kDone) return wrong;
  try {
    state_->prepare(step, pool.threads());
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  pool.run([&](int thread) { state_->run(pool, step, thread); });
  return kDone;
}

}  // namespace sagellm
