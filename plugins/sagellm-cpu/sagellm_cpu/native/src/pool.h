// The threads that compute.
#pragma once

#include <cstdint>

namespace sagellm {

// A fixed number of threads, the caller among them. Who waits, for the next region or at a barrier,
// spins for a short while and then sleeps. Each worker is bound to a processor of its own among
// those that the process may use.
class Pool {
 public:
  // cpus: `count` processors of the affinity mask, or null to leave threads unbound.
  explicit Pool(int threads, const int* cpus, int count);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // Runs body(context, thread) on every thread, the caller being thread 0, and returns when all
  // have. Regions of different callers take turns.
  void run(void (*body)(void* context, int thread), void* context);

  template <class Body>
  void run(Body&& body) {
    run([](void* context, int thread) { (*static_cast<Body*>(context))(thread); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  // Called by every thread inside a region: returns when all have called it.
  void barrier();

 private:
  struct State;
  State* state_;
  int threads_;
};

}  // namespace sagellm
