// Products of bytes in the tiles of AMX: 8 registers of 16 rows of 64 bytes. See the Intel 64 and
// IA-32 Architectures Software Developer's Manual, volume 1, "Programming with Intel AMX".
//
// The bytes of a step of a panel, 16 outputs of 4 inputs, are a row of a tile as TDPBSSD takes it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#if defined(SAGELLM_AMX_HEADER)
#include SAGELLM_AMX_HEADER  // tests: the same operations in C++
#else
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "codes_layout.h"
#include "int8_tile.h"

namespace sagellm {
namespace matrix {

constexpr const char* kName = "amx";
constexpr int kRows = 16;
constexpr int64_t kFewest = kRows;
// 16 cycles after a product another one can begin, which is long before the first has ended.
constexpr int kAtOnce = 4;
// Processors with AMX have 2 MiB a core.
constexpr int64_t kBlockBytes = 1024 * 1024;
constexpr int64_t kMostQuads = 16;  // rows of a tile

using Sums = lanes::Ints[kAtOnce][kRows];

#if !defined(SAGELLM_AMX_HEADER)
// Tiles are 8 KiB of every thread that uses them: Linux wants to be asked once in a process, which
// its forks inherit (Documentation/arch/x86/xstate.rst). It may refuse.
inline bool usable() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return permitted;
}
#endif

// A group in parts of equal size, each one product. The last one may have some quads too many.
struct Shape {
  explicit Shape(int64_t quads_)
      : group_quads(quads_),
        parts(ceil_div(quads_, kMostQuads)),
        part_quads(ceil_div(quads_, parts)) {}

  int64_t group_inputs() const { return group_quads * 4; }
  int64_t group_bytes() const { return parts * part_bytes(); }
  int64_t part_inputs() const { return part_quads * 4; }
  int64_t part_bytes() const { return part_quads * kStepBytes; }

  int64_t group_quads;
  int64_t parts;
  int64_t part_quads;
};

// The tiles of this thread: sums in 0 to 3, inputs in 4 and 5, codes in 6 and 7. Given back at the
// end, so that nobody has to save them when another thread runs.
class Unit {
 public:
  explicit Unit(const Shape& shape) {
    for (int tile = 0; tile < 8; ++tile) {
      const bool inputs = tile == 4 || tile == 5;
      const bool codes = tile >= 6;
      config_.row_bytes[tile] = static_cast<uint16_t>(inputs ? shape.part_inputs() : kStepBytes);
      config_.rows[tile] = static_cast<uint8_t>(codes ? shape.part_quads : kRows);
    }
    // For compilers that know only of the first bytes that are read.
    asm volatile("" ::"r"(&config_) : "memory");
    _tile_loadconfig(&config_);
  }
  ~Unit() { _tile_release(); }
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

 private:
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
  static_assert(sizeof(Config) == 64, "as LDTILECFG reads it");
  Config config_;
};

template <int32_t kFormat>
inline void expand(const uint8_t* codes, int64_t steps, const Shape& shape, int8_t* target,
                   int64_t ahead) {
  int8_t* const end = target + shape.group_bytes();
  for (int64_t step = 0; step < steps; ++step) {
    const lanes::Bytes bytes = lanes::load_codes(codes + step * kStepBytes);
    fetch_ahead(codes + step * kStepBytes, ahead);
    if constexpr (kFormat == kQ8) {
      _mm512_store_si512(target, _mm512_xor_si512(bytes, _mm512_set1_epi8(-kCodeZero)));
    } else {
      _mm512_store_si512(target, lanes::low_halves(bytes));
      target += kStepBytes;
      _mm512_store_si512(target, lanes::high_halves(bytes));
    }
    target += kStepBytes;
  }
  for (; target < end; target += kStepBytes) _mm512_store_si512(target, _mm512_setzero_si512());
}

// Numbers of tiles are part of an instruction, and some compilers want them spelt out.
#define SAGELLM_PRODUCT(part, sums, rows, columns)                             \
  _tile_loadd(rows, inputs + (part) * shape.part_inputs(), stride);            \
  _tile_loadd(columns, codes + (part) * shape.part_bytes(), kStepBytes);       \
  _tile_dpbssd(sums, rows, columns)

// Up to four products, each to a sum of its own.
inline void multiply(const int8_t* inputs, int64_t stride, const int8_t* codes, const Shape& shape,
                     int64_t count) {
  asm volatile("" ::: "memory");  // to some compilers loads of tiles read nothing
  SAGELLM_PRODUCT(0, 0, 4, 6);
  if (count > 1) {
    SAGELLM_PRODUCT(1, 1, 5, 7);
  }
  if (count > 2) {
    SAGELLM_PRODUCT(2, 2, 4, 6);
  }
  if (count > 3) {
    SAGELLM_PRODUCT(3, 3, 5, 7);
  }
}

#undef SAGELLM_PRODUCT

inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

inline void store_sums(Sums& sums, int64_t count) {
  _tile_stored(0, sums[0], kStepBytes);
  if (count > 1) _tile_stored(1, sums[1], kStepBytes);
  if (count > 2) _tile_stored(2, sums[2], kStepBytes);
  if (count > 3) _tile_stored(3, sums[3], kStepBytes);
}

inline void products(Sums& sums, const int8_t* inputs, int64_t stride, const int8_t* codes,
                     const Shape& shape, int64_t groups) {
  if (shape.parts == 1) {
    clear_sums();
    multiply(inputs, stride, codes, shape, groups);
    store_sums(sums, groups);
    return;
  }
  // A group has four sums of its own, which are added up.
  for (int64_t group = 0; group < groups; ++group) {
    clear_sums();
    for (int64_t part = 0; part < shape.parts; part += kAtOnce) {
      multiply(inputs + part * shape.part_inputs(), stride, codes + part * shape.part_bytes(),
               shape, shape.parts - part);
    }
    alignas(64) Sums parts;
    const int used = static_cast<int>(std::min<int64_t>(shape.parts, kAtOnce));
    store_sums(parts, used);
    for (int r = 0; r < kRows; ++r) {
      __m512i sum = (__m512i)parts[0][r];
      for (int i = 1; i < used; ++i) sum = _mm512_add_epi32(sum, (__m512i)parts[i][r]);
      sums[group][r] = (lanes::Ints)sum;
    }
    inputs += shape.group_inputs();
    codes += shape.group_bytes();
  }
}

}  // namespace matrix
}  // namespace sagellm
