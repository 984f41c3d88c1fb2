// The encoder as Python calls it.

#include <cstdint>
#include <new>

#include "encoder.h"

using namespace sagellm;

extern "C" {

// Sizes of the structures that Python declares too.
void sagellm_encoder_layout(int64_t sizes[4]) {
  sizes[0] = sizeof(EncoderConfig);
  sizes[1] = sizeof(EncoderLayer);
  sizes[2] = sizeof(EncoderTables);
  sizes[3] = sizeof(EncoderPass);
}

// An encoder over weights that live longer than it; null where there is no memory.
void* sagellm_encoder_create(const EncoderConfig* config, const EncoderLayer* layers,
                             const EncoderTables* tables) {
  try {
    return new Encoder(*config, layers, *tables);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// A StepResult.
int32_t sagellm_encoder_pass(void* encoder, void* pool, const EncoderPass* pass) {
  return static_cast<Encoder*>(encoder)->pass(*static_cast<Pool*>(pool), *pass);
}

void sagellm_encoder_release(void* encoder) { static_cast<Encoder*>(encoder)->release(); }

void sagellm_encoder_destroy(void* encoder) { delete static_cast<Encoder*>(encoder); }
}
