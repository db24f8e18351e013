// Tensors that JavaScript holds, by handle.
#pragma once
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "errors.h"

namespace bridge {

// A handle is generation * 2^24 + index, an integer that a double holds exactly. The generation starts at 1 and
// changes whenever a slot is freed, so a stale handle, or a small number, names no tensor.
class Slots {
 public:
  double add(at::Tensor tensor) {
    uint32_t index;
    if (free_.empty()) {
      if (slots_.size() >= kMaxSlots) throw Refusal("E_ENGINE", "more than 16,777,216 live tensors");
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    Slot& slot = slots_[index];
    slot.tensor = std::move(tensor);
    slot.used = true;
    ++live_;
    return slot.generation * kMaxSlots + index;
  }

  const at::Tensor& get(double handle) const {
    const Slot* slot = find(handle);
    if (!slot) throw Refusal("E_STALE_TENSOR", "the tensor was freed");
    return slot->tensor;
  }

  // Freeing what is freed already does nothing.
  void remove(double handle) {
    Slot* slot = const_cast<Slot*>(find(handle));
    if (!slot) return;
    slot->tensor = at::Tensor();
    slot->used = false;
    slot->generation = slot->generation == kMaxGeneration ? 1 : slot->generation + 1;
    free_.push_back(static_cast<uint32_t>(slot - slots_.data()));
    --live_;
  }

  size_t live() const { return live_; }

 private:
  struct Slot {
    at::Tensor tensor;
    uint32_t generation = 1;
    bool used = false;
  };
  static constexpr double kMaxSlots = 1 << 24;
  static constexpr uint32_t kMaxGeneration = (1u << 29) - 1;

  const Slot* find(double handle) const {
    if (!(handle >= kMaxSlots && handle < 9007199254740992.0)) return nullptr;
    const uint64_t bits = static_cast<uint64_t>(handle);
    const uint64_t index = bits & ((1u << 24) - 1);
    if (index >= slots_.size()) return nullptr;
    const Slot& slot = slots_[index];
    return slot.used && slot.generation == bits >> 24 ? &slot : nullptr;
  }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

}  // namespace bridge
