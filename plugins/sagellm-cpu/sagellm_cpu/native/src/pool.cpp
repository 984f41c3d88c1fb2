#include "pool.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sagellm {

namespace {

// Between two regions a worker spins for so long: about as long as a step is prepared for.
constexpr auto kSpin = std::chrono::microseconds(300);
// Pauses before a waiting thread lets others run: with more threads than processors, the one that
// is waited for may need this one's.
constexpr int kPauses = 2000;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void bind(int cpu) {
#if defined(__linux__)
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  // Refused where the affinity mask has changed: the thread then runs anywhere.
  sched_setaffinity(0, sizeof one, &one);
#else
  static_cast<void>(cpu);
#endif
}

}  // namespace

struct Pool::State {
  State(int threads, std::vector<int> cpus_) : process(getpid()), count(threads), cpus(cpus_) {
    try {
      for (int i = 1; i < count; ++i) {
        workers.emplace_back([this, i] { work(i); });
      }
    } catch (...) {
      end();  // those that did start
      throw;
    }
  }
  ~State() { end(); }

  void end() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ending = true;
      ++region;
    }
    awake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void work(int thread) {
    if (!cpus.empty()) bind(cpus[static_cast<size_t>(thread) % cpus.size()]);
    for (uint64_t seen = 0;;) {
      wait_for_region(seen);
      ++seen;
      if (ending) return;
      body(context, thread);
      finished.fetch_add(1, std::memory_order_release);
    }
  }

  void wait_for_region(uint64_t seen) {
    const auto limit = std::chrono::steady_clock::now() + kSpin;
    while (std::chrono::steady_clock::now() < limit) {
      for (int i = 0; i < 64; ++i) {
        if (region.load(std::memory_order_acquire) != seen) return;
        pause();
      }
    }
    std::unique_lock<std::mutex> lock(mutex);
    ++sleeping;
    awake.wait(lock, [&] { return region.load(std::memory_order_acquire) != seen; });
    --sleeping;
  }

  // What waits inside a region. There the others are running, if they have a processor.
  template <class Done>
  static void spin_until(Done done) {
    for (int pauses = 0; !done();) {
      if (++pauses < kPauses) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  const pid_t process;
  const int count;
  const std::vector<int> cpus;
  std::mutex turn;   // held by the caller whose region it is
  std::mutex mutex;  // of the sleep between regions
  std::condition_variable awake;
  std::vector<std::thread> workers;
  std::atomic<bool> ending{false};
  int sleeping = 0;
  void (*body)(void*, int) = nullptr;
  void* context = nullptr;
  // Apart, so that those who wait for one do not slow down those who count on another.
  alignas(64) std::atomic<uint64_t> region{0};
  alignas(64) std::atomic<int> finished{0};
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<uint64_t> phase{0};
};

Pool::Pool(int threads, const int* cpus, int count) : threads_(threads < 1 ? 1 : threads) {
  state_ = new State(threads_, std::vector<int>(cpus, cpus + (cpus == nullptr ? 0 : count)));
}

Pool::~Pool() {
  // In the child of a fork there are no workers that could be ended.
  if (state_->process == getpid()) delete state_;
}

void Pool::run(void (*body)(void*, int), void* context) {
  if (state_->process != getpid()) {
    // The child of a fork has only the thread that forked. What the parent's workers left is
    // abandoned: it may be in any state.
    state_ = new State(threads_, state_->cpus);
  }
  State& state = *state_;
  const std::lock_guard<std::mutex> turn(state.turn);
  state.finished.store(0, std::memory_order_relaxed);
  bool asleep;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.body = body;
    state.context = context;
    state.region.fetch_add(1, std::memory_order_release);
    asleep = state.sleeping > 0;
  }
  if (asleep) state.awake.notify_all();
  body(context, 0);
  State::spin_until([&] {
    return state.finished.load(std::memory_order_acquire) == threads_ - 1;
  });
}

void Pool::barrier() {
  State& state = *state_;
  const uint64_t phase = state.phase.load(std::memory_order_acquire);
  if (state.arrived.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    state.arrived.store(0, std::memory_order_relaxed);
    state.phase.store(phase + 1, std::memory_order_release);
    return;
  }
  State::spin_until([&] { return state.phase.load(std::memory_order_acquire) != phase; });
}

}  // namespace sagellm
