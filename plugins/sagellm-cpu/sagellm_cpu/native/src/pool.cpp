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
// Pauses before a thread that waits inside a region sleeps as well, some tens of microseconds. Where
// other programs use the processors, the one that is waited for may not run for milliseconds; who
// sleeps then is let run at once when it is woken, who spins or yields has spent its turn.
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
      if (finished.fetch_add(1, std::memory_order_seq_cst) == count - 2) wake();
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

  // For what waits inside a region: until done().
  template <class Done>
  void wait_until(Done done) {
    for (int pauses = 0; pauses < kPauses; ++pauses) {
      if (done()) return;
      pause();
    }
    std::unique_lock<std::mutex> lock(inner);
    // Either this thread sees what wake() was called for, or wake() sees this thread.
    waiting.fetch_add(1, std::memory_order_seq_cst);
    progress.wait(lock, done);
    waiting.fetch_sub(1, std::memory_order_relaxed);
  }

  // After what some may wait for was stored, in sequential order.
  void wake() {
    if (waiting.load(std::memory_order_seq_cst) == 0) return;
    { const std::lock_guard<std::mutex> lock(inner); }
    progress.notify_all();
  }

  const pid_t process;
  const int count;
  const std::vector<int> cpus;
  std::mutex turn;   // held by the caller whose region it is
  std::mutex mutex;  // of the sleep between regions
  std::condition_variable awake;
  std::mutex inner;  // of the sleep inside one
  std::condition_variable progress;
  std::atomic<int> waiting{0};
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
  state.wait_until([&] {
    return state.finished.load(std::memory_order_seq_cst) == threads_ - 1;
  });
}

void Pool::barrier() {
  State& state = *state_;
  const uint64_t phase = state.phase.load(std::memory_order_acquire);
  if (state.arrived.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    state.arrived.store(0, std::memory_order_relaxed);
    state.phase.store(phase + 1, std::memory_order_seq_cst);
    state.wake();
    return;
  }
  state.wait_until([&] { return state.phase.load(std::memory_order_seq_cst) != phase; });
}

}  // namespace sagellm
