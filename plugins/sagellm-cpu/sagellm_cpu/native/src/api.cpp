// Threads, packing and single linear layers as Python calls them.

#include <cstdint>
#include <exception>
#include <new>
#include <string>

#include "buffer.h"
#include "linear.h"
#include "linear_int8_matrix.h"
#include "pool.h"

using namespace sagellm;

namespace {

const char* vector_instructions() {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
  return "avx512-vnni";
#elif defined(__AVX512F__) && defined(__AVX512BW__)
  return "avx512";
#elif defined(__AVX2__) && defined(__FMA__) && (defined(__AVXVNNI__) || defined(__AVX512VNNI__))
  return "avx2-vnni";
#elif defined(__AVX2__) && defined(__FMA__)
  return "avx2";
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
  return "neon-dotprod";
#else
  return "portable";
#endif
}

}  // namespace

extern "C" {

// Grows whenever a function or a structure changes: Python refuses a library of another number.
int32_t sagellm_interface() { return 3; }

// The instructions that the kernels were compiled for: vectors, and matrices where there are any.
const char* sagellm_instructions() {
  static const std::string name = [] {
    const std::string matrices = matrix_instructions();
    return vector_instructions() + (matrices.empty() ? matrices : "-" + matrices);
  }();
  return name.c_str();
}

// Null where there is no memory, or no thread to be had.
void* sagellm_pool_create(int32_t threads, const int32_t* cpus, int32_t count) {
  try {
    return new Pool(threads, cpus, count);
  } catch (const std::exception&) {
    return nullptr;
  }
}

void sagellm_pool_destroy(void* pool) { delete static_cast<Pool*>(pool); }

int64_t sagellm_packed_data_bytes(int32_t format, int64_t out, int64_t in, int64_t group) {
  return static_cast<int64_t>(packed_data_bytes(format, out, in, group));
}

int64_t sagellm_packed_scale_count(int32_t format, int64_t out, int64_t in, int64_t group) {
  return static_cast<int64_t>(packed_scale_count(format, out, in, group));
}

void sagellm_pack(int32_t format, int32_t scale_format, int64_t out, int64_t in, int64_t group,
                  int64_t first, int64_t count, const void* source, const void* scales,
                  const void* mins, void* data, void* packed_scales, void* packed_mins) {
  pack(format, scale_format, out, in, group, first, count, source, scales, mins, data,
       packed_scales, packed_mins);
}

// dst: [count, in]
void sagellm_unpack_rows(const Weight* weight, const int64_t* rows, int64_t count, float* dst) {
  for (int64_t i = 0; i < count; ++i) unpack_row(*weight, rows[i], dst + i * weight->in);
}

// y = x w^T + bias, or y += where `add`; x: [rows, ld], y: [rows, ldy]. Not 0 where there is no
// memory for the rounded inputs.
int32_t sagellm_linear(void* pool, const Weight* weight, const float* x, int64_t ld, int64_t rows,
                       float* y, int64_t ldy, int32_t add) {
  thread_local Buffer quantised;
  const bool rounded = weight->arithmetic == kInt8;
  if (rounded) {
    try {
      quantised.reserve(quantised_bytes(rows, weight->in, weight->group));
    } catch (const std::bad_alloc&) {
      return 1;
    }
  }
  Pool& threads = *static_cast<Pool*>(pool);
  const Rows inputs = {x, ld, rows, rounded ? quantised.bytes() : nullptr};
  const int count = threads.threads();
  threads.run([&](int thread) {
    if (rounded) {
      for (int64_t row = thread; row < rows; row += count) {
        quantise_row(x + row * ld, weight->in, weight->group, row, rows, inputs.quantised);
      }
      threads.barrier();
    }
    linear(*weight, inputs, y, ldy, add ? kAdd : kStore, thread, count);
  });
  return 0;
}
}
