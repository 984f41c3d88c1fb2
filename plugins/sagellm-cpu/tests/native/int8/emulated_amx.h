// What the kernels need of AMX in C++, for processors without it: the operations as the Intel 64
// and IA-32 Architectures Software Developer's Manual, volume 2, describes them for LDTILECFG,
// TILELOADD, TILESTORED, TILEZERO, TDPBSSD and TILERELEASE. What is an exception there ends the
// program here.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulated_amx {

constexpr int kTiles = 8, kMostRows = 16, kMostRowBytes = 64;  // of palette 1

struct Tile {
  int rows, row_bytes;
  uint8_t row[kMostRows][kMostRowBytes];
};

// Of one thread.
struct State {
  bool configured = false;
  Tile tiles[kTiles];
};
inline thread_local State state;

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "emulated AMX: %s\n", what);
  std::abort();
}

inline Tile& tile(int number) {
  require(state.configured, "#UD, tiles are not configured");
  require(number >= 0 && number < kTiles, "#UD, there are 8 tiles");
  Tile& found = state.tiles[number];
  require(found.rows > 0 && found.row_bytes > 0, "#UD, a tile without rows or columns");
  return found;
}

inline void load_config(const void* source) {
  uint8_t bytes[64];
  std::memcpy(bytes, source, sizeof bytes);
  require(bytes[0] == 1, "#GP, palette (0 would be a release)");
  require(bytes[1] == 0, "start_row of a new configuration");
  for (int i = 2; i < 16; ++i) require(bytes[i] == 0, "#GP, reserved bytes");
  for (int i = 32; i < 48; ++i) require(bytes[i] == 0, "#GP, row bytes of tiles that there are not");
  for (int i = 56; i < 64; ++i) require(bytes[i] == 0, "#GP, rows of tiles that there are not");
  for (int t = 0; t < kTiles; ++t) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * t, sizeof row_bytes);
    const int rows = bytes[48 + t];
    require(row_bytes <= kMostRowBytes && rows <= kMostRows, "#GP, a tile is too large");
    require((row_bytes == 0) == (rows == 0), "#GP, rows without columns or the reverse");
    state.tiles[t] = {rows, row_bytes, {}};
  }
  state.configured = true;
}

inline void release() { state = {}; }

inline void zero(int number) {
  Tile& target = tile(number);
  std::memset(target.row, 0, sizeof target.row);
}

inline void load(int number, const void* base, int64_t stride) {
  Tile& target = tile(number);
  std::memset(target.row, 0, sizeof target.row);
  for (int r = 0; r < target.rows; ++r) {
    std::memcpy(target.row[r], static_cast<const uint8_t*>(base) + r * stride,
                static_cast<size_t>(target.row_bytes));
  }
}

inline void store(int number, void* base, int64_t stride) {
  const Tile& source = tile(number);
  for (int r = 0; r < source.rows; ++r) {
    std::memcpy(static_cast<uint8_t*>(base) + r * stride, source.row[r],
                static_cast<size_t>(source.row_bytes));
  }
}

// C = A B + C; A: m rows of k groups of 4 bytes, B: k rows of n groups, C: m rows of n integers.
inline void dot_signed(int number_c, int number_a, int number_b) {
  require(number_c != number_a && number_c != number_b && number_a != number_b,
          "#UD, tiles of a product must differ");
  Tile& c = tile(number_c);
  const Tile& a = tile(number_a);
  const Tile& b = tile(number_b);
  require(a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0 && c.row_bytes % 4 == 0,
          "#UD, rows of tiles that are no multiple of 4 bytes");
  require(a.rows == c.rows, "#UD, rows of A and C");
  require(a.row_bytes / 4 == b.rows, "#UD, columns of A and rows of B");
  require(b.row_bytes == c.row_bytes, "#UD, columns of B and C");
  const int columns = c.row_bytes / 4;
  for (int m = 0; m < c.rows; ++m) {
    uint32_t sums[kMostRowBytes / 4];
    std::memcpy(sums, c.row[m], sizeof sums);
    for (int k = 0; k < a.row_bytes / 4; ++k) {
      for (int i = 0; i < 4; ++i) {
        const int32_t factor = static_cast<int8_t>(a.row[m][4 * k + i]);
        for (int n = 0; n < columns; ++n) {
          const int32_t product = factor * static_cast<int8_t>(b.row[k][4 * n + i]);
          sums[n] += static_cast<uint32_t>(product);
        }
      }
    }
    std::memcpy(c.row[m], sums, sizeof sums);
  }
}

}  // namespace emulated_amx

#if !defined(EMULATED_AMX_BY_TRAPS)

// The names of <immintrin.h>, where they may be macros.
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig emulated_amx::load_config
#define _tile_release emulated_amx::release
#define _tile_zero emulated_amx::zero
#define _tile_loadd emulated_amx::load
#define _tile_stored emulated_amx::store
#define _tile_dpbssd emulated_amx::dot_signed

namespace sagellm {
namespace matrix {

inline bool usable() { return true; }

}  // namespace matrix
}  // namespace sagellm

#endif
