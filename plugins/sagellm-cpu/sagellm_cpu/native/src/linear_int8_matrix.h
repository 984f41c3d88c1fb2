// Linear layers of kQ8 and kQ4 weights over many rows rounded to int8, by instructions that multiply
// matrices of bytes, where the processor has them.
#pragma once

#include "int8_tile.h"
#include "matrix_unit.h"

namespace sagellm {

#if defined(SAGELLM_MATRIX_UNIT)

// What the instructions are called; empty where this processor or its operating system has none.
const char* matrix_instructions();

// linear_int8(), to the bit. False where it did nothing: rows are too few, or there is no memory.
bool linear_int8_matrix(const Int8Layer& layer, int64_t rows, int thread, int threads);

#else

inline const char* matrix_instructions() { return ""; }
inline bool linear_int8_matrix(const Int8Layer&, int64_t, int, int) { return false; }

#endif

}  // namespace sagellm
