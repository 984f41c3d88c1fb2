// The decoder as Python calls it.

#include <cstdint>
#include <new>

#include "decoder.h"

using namespace sagellm;

extern "C" {

// Sizes of the structures that Python declares too.
void sagellm_decoder_layout(int64_t sizes[6]) {
  sizes[0] = sizeof(Weight);
  sizes[1] = sizeof(DecoderConfig);
  sizes[2] = sizeof(DecoderLayer);
  sizes[3] = sizeof(DecoderEnds);
  sizes[4] = sizeof(DecoderStep);
  sizes[5] = sizeof(Segment);
}

// A decoder over weights that live longer than it; null where there is no memory.
void* sagellm_decoder_create(const DecoderConfig* config, const DecoderLayer* layers,
                             const DecoderEnds* ends) {
  try {
    return new Decoder(*config, layers, *ends);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// A StepResult.
int32_t sagellm_decoder_step(void* decoder, void* pool, const DecoderStep* step) {
  return static_cast<Decoder*>(decoder)->step(*static_cast<Pool*>(pool), *step);
}

void sagellm_decoder_destroy(void* decoder) { delete static_cast<Decoder*>(decoder); }
}
