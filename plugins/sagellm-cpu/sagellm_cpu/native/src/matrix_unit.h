// Instructions that multiply matrices of bytes, where this processor has any: what the int8 kernel
// for many rows consists of. All variants give the same integers.
//
//   SAGELLM_MATRIX_UNIT  defined where there are such instructions. -DSAGELLM_NO_MATRIX_UNIT leaves
//                        them out, to compare.
//
//   kName          as sagellm_instructions() calls it
//   kRows          rows of inputs of a tile
//   kFewest        rows from which on it is of use, at least kRows
//   kAtOnce        groups whose sums are computed together
//   kBlockBytes    rounded inputs that stay in the second-level cache while panels pass by
//   usable()       whether the operating system lets this process use them
//   Sums           [kAtOnce][kRows] lanes of 16 outputs
//   Shape          how a group is cut into products, from its quads: a quad is four inputs
//   Unit(shape)    lives as long as a thread computes
//   expand<kFormat>(codes, steps, shape, target, ahead)
//                  lays one group of a panel out as signed bytes; shape.group_bytes() of them
//   products(sums, inputs, stride, codes, shape, groups)
//                  sums of kRows rows and the 16 outputs of a panel, for up to kAtOnce groups
//
// What a product reads of inputs beyond the group, up to 60 bytes, it multiplies with zeros.
#pragma once

#include "int8_lanes.h"

#if defined(SAGELLM_NO_MATRIX_UNIT)
// None.
#elif defined(SAGELLM_AMX_HEADER) || \
    (defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__linux__) && \
     defined(__AVX512F__) && defined(__AVX512BW__))
#define SAGELLM_MATRIX_UNIT 1
#include "matrix_unit_amx.h"
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)
#define SAGELLM_MATRIX_UNIT 1
#include "matrix_unit_i8mm.h"
#endif
