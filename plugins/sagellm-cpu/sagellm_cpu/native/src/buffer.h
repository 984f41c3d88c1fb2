// Memory that is kept from step to step and only grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace sagellm {

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // Room for so many bytes, aligned to 64; what was there is lost. Throws std::bad_alloc.
  void reserve(size_t bytes) {
    if (bytes <= size_) return;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
    const size_t rounded = (bytes + 63) / 64 * 64;
    if (posix_memalign(&data_, 64, rounded) != 0) {
      data_ = nullptr;
      throw std::bad_alloc();
    }
    size_ = rounded;
  }
  void release() {
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }
  void reserve_floats(int64_t count) { reserve(static_cast<size_t>(count) * sizeof(float)); }

  void* bytes() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sagellm
