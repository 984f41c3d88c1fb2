// The instructions of AMX as they are compiled, on processors without it: each of them raises an
// exception, and the handler of its signal does what emulated_amx.h says. Encodings are those of the
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
#pragma once

#define EMULATED_AMX_BY_TRAPS 1
#include "emulated_amx.h"

#include <signal.h>
#include <ucontext.h>

namespace emulated_amx {

// A VEX prefix of three bytes and what follows it.
class Instruction {
 public:
  Instruction(const uint8_t* code, const ucontext_t& context) : context_(context) {
    require(code[0] == 0xC4 && (code[1] & 31) == 2, "not of VEX.0F38");
    high_reg_ = (code[1] & 0x80) == 0;
    high_index_ = (code[1] & 0x40) == 0;
    high_base_ = (code[1] & 0x20) == 0;
    require((code[2] & 0x84) == 0, "not of VEX.128.W0");
    third_ = (~code[2] >> 3) & 15;
    prefix_ = code[2] & 3;
    opcode_ = code[3];
    modes_ = code[4];
    length_ = 5;
    if (in_memory()) length_ += find_address(code + 5);
  }

  bool in_memory() const { return modes_ >> 6 != 3; }
  int opcode() const { return opcode_; }
  int prefix() const { return prefix_; }  // 0: none, 1: 66, 2: F3, 3: F2
  int first() const { return ((modes_ >> 3) & 7) | (high_reg_ ? 8 : 0); }
  int second() const { return (modes_ & 7) | (high_base_ ? 8 : 0); }
  int third() const { return third_; }
  uint8_t* address() const { return reinterpret_cast<uint8_t*>(address_); }
  int64_t stride() const { return stride_; }
  int64_t length() const { return length_; }

 private:
  int64_t general(int number) const {
    constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    return context_.uc_mcontext.gregs[kOrder[number]];
  }

  // Returns how many bytes it takes.
  int find_address(const uint8_t* code) {
    const int mode = modes_ >> 6;
    int base = modes_ & 7, taken = 0;
    if (base == 4) {
      const int index = ((code[0] >> 3) & 7) | (high_index_ ? 8 : 0);
      if (index != 4) stride_ = general(index) << (code[0] >> 6);
      base = code[0] & 7;
      taken = 1;
    }
    require(mode != 0 || base != 5, "an address without a base");
    address_ = general(base | (high_base_ ? 8 : 0));
    if (mode == 1) {
      address_ += static_cast<int8_t>(code[taken]);
      taken += 1;
    } else if (mode == 2) {
      int32_t displacement;
      std::memcpy(&displacement, code + taken, sizeof displacement);
      address_ += displacement;
      taken += 4;
    }
    return taken;
  }

  const ucontext_t& context_;
  bool high_reg_, high_index_, high_base_;
  int third_, prefix_, opcode_, modes_, length_;
  int64_t address_ = 0, stride_ = 0;
};

inline void execute(const Instruction& made) {
  const int kind = made.opcode() << 4 | made.prefix() << 1 | made.in_memory();
  switch (kind) {
    case 0x491: return load_config(made.address());
    case 0x490: return release();
    case 0x496: return zero(made.first());
    case 0x4B7: return load(made.first(), made.address(), made.stride());
    case 0x4B5: return store(made.first(), made.address(), made.stride());
    case 0x5E6: return dot_signed(made.first(), made.second(), made.third());
    default: require(false, "another instruction that this processor does not know");
  }
}

inline void trap(int, siginfo_t*, void* context) {
  ucontext_t& here = *static_cast<ucontext_t*>(context);
  greg_t& at = here.uc_mcontext.gregs[REG_RIP];
  const Instruction made(reinterpret_cast<const uint8_t*>(at), here);
  execute(made);
  at += made.length();
}

}  // namespace emulated_amx

namespace sagellm {
namespace matrix {

inline bool usable() {
  static const bool trapped = [] {
    struct sigaction action = {};
    action.sa_sigaction = emulated_amx::trap;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGILL, &action, nullptr) == 0;
  }();
  return trapped;
}

}  // namespace matrix
}  // namespace sagellm
