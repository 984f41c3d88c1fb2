"""The runner: a paged KV cache, one sequence after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sagellm_core.contract import (
    BlockAccountingError,
    CompletedStep,
    ConfigurationError,
    DecodeRow,
    EngineClosedError,
    InsufficientMemoryError,
    KVCapacity,
    PrefillRow,
    RunnerConfig,
    RunnerError,
    SamplingParams,
    StepResult,
)
from sagellm_core.testing.reference.layers import attention, rms_norm, rotate, silu

from .sampler import Drawn, draw


class Slot:
    """One sequence: its tokens, those in the cache and those before, and its blocks."""

    def __init__(self, sampling: SamplingParams, prompt_len: int) -> None:
        self.sampling = sampling
        self.prompt_len = prompt_len
        self.tokens: list[int] = []
        self.table: list[int] = []
        self.last: int | None = None


class TinyRunner:
    """Implements Runner."""

    def __init__(self, model: Any, config: RunnerConfig) -> None:
        if config.max_model_len > model.max_model_len:
            raise ConfigurationError("max_model_len is beyond the model's.", hint="Lower it.")
        self.model = model
        self.max_slots = config.max_slots
        settings = model.config
        self.layers = settings["num_hidden_layers"]
        self.heads = settings["num_attention_heads"]
        self.kv_heads = settings["num_key_value_heads"]
        self.head_dim = settings.get("head_dim") or settings["hidden_size"] // self.heads
        self.window = settings.get("sliding_window")
        self.theta = settings["rope_theta"]
        size = config.block_size
        each = self.layers * 2 * size * self.kv_heads * self.head_dim * 4
        blocks = config.num_blocks
        if blocks is None:
            memory = config.kv_memory_bytes
            blocks = 256 if memory is None else memory // each
        if blocks < 1:
            raise InsufficientMemoryError("Not a single block fits.", hint="Allow more memory.")
        self.capacity = KVCapacity(blocks, size, each)
        shape = (self.layers, 2, blocks, size, self.kv_heads, self.head_dim)
        self.cache: Any = np.zeros(shape, dtype=np.float32)
        self.slots: dict[int, Slot] = {}

    def prefill(self, rows: Sequence[PrefillRow]) -> CompletedStep:
        self.check_open()
        drawn = []
        for row in rows:
            self.check_blocks(row.new_blocks)
            if row.begin is not None:
                slot = Slot(row.begin.sampling, row.begin.prompt_len)
                slot.tokens = list(row.begin.cached_token_ids)
            else:
                slot = self.slot(row.slot)
            if row.start != len(slot.tokens):
                raise RunnerError("The chunk does not continue the sequence.", hint="Report it.")
            self.check_room(slot, row.new_blocks, row.start + len(row.token_ids))
            self.slots[row.slot] = slot
            slot.table.extend(row.new_blocks)
            drawn.append(self.step(slot, list(row.token_ids), sample=row.sample))
        return completed(drawn)

    def decode(self, rows: Sequence[DecodeRow]) -> CompletedStep:
        self.check_open()
        drawn = []
        for row in rows:
            self.check_blocks(row.new_blocks)
            slot = self.slot(row.slot)
            if slot.last is None:
                raise RunnerError("Nothing was sampled in this slot.", hint="Report it.")
            self.check_room(slot, row.new_blocks, len(slot.tokens) + 1)
            slot.table.extend(row.new_blocks)
            drawn.append(self.step(slot, [slot.last], sample=True))
        return completed(drawn)

    def close(self) -> None:
        self.cache = None
        self.slots.clear()

    def step(self, slot: Slot, tokens: list[int], *, sample: bool) -> Drawn | None:
        """Compute tokens after those that the slot holds, and draw the next one."""
        logits = self.forward(slot, tokens)
        slot.tokens += tokens
        if not sample:
            return None
        drawn = self.draw(logits, slot)
        slot.last = drawn.token
        return drawn

    def draw(self, logits: Any, slot: Slot) -> Drawn:
        index = len(slot.tokens) - slot.prompt_len
        return draw(logits, slot.tokens, slot.prompt_len, slot.sampling, index)

    def forward(self, slot: Slot, tokens: list[int]) -> Any:
        """Logits after the last of ``tokens``."""
        weights = self.model.weights
        x = weights["model.embed_tokens.weight"][tokens]
        positions = self.positions(slot, tokens)
        for number in range(self.layers):
            layer = f"model.layers.{number}"
            seen = self.attend(slot, number, self.norm(x, f"{layer}.input_layernorm"), positions)
            x = x + self.linear(seen, f"{layer}.self_attn.o_proj")
            y = self.norm(x, f"{layer}.post_attention_layernorm")
            gate = silu(self.linear(y, f"{layer}.mlp.gate_proj"))
            up = self.linear(y, f"{layer}.mlp.up_proj")
            x = x + self.linear(gate * up, f"{layer}.mlp.down_proj")
        head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
        return head @ self.norm(x[-1], "model.norm")

    def positions(self, slot: Slot, tokens: list[int]) -> Any:
        return np.arange(len(slot.tokens), len(slot.tokens) + len(tokens))

    def attend(self, slot: Slot, number: int, x: Any, positions: Any) -> Any:
        name = f"model.layers.{number}.self_attn"
        q, k, v = (
            self.linear(x, f"{name}.{part}_proj").reshape(len(x), -1, self.head_dim)
            for part in "qkv"
        )
        if f"{name}.q_norm.weight" in self.model.weights:
            q, k = self.norm(q, f"{name}.q_norm"), self.norm(k, f"{name}.k_norm")
        q, k = rotate(q, positions, self.theta), rotate(k, positions, self.theta)
        begin = len(slot.tokens)
        self.write(slot, number, begin, k, v)
        k, v = self.read(slot, number, begin + len(x))
        distance = np.arange(begin, begin + len(x))[:, None] - np.arange(len(k))
        mask = distance >= 0
        if self.window:
            mask &= distance < self.window
        return attention(q, k, v, mask)

    def write(self, slot: Slot, number: int, begin: int, k: Any, v: Any) -> None:
        size = self.capacity.block_size
        for place in range(len(k)):
            block, offset = divmod(begin + place, size)
            self.cache[number, 0, slot.table[block], offset] = k[place]
            self.cache[number, 1, slot.table[block], offset] = v[place]

    def read(self, slot: Slot, number: int, length: int) -> Any:
        """Keys and values of a sequence, each of shape [length, kv_heads, head_dim]."""
        kept = self.cache[number][:, slot.table]  # [2, blocks, size, kv_heads, head_dim]
        flat = kept.reshape(2, -1, self.kv_heads, self.head_dim)
        return flat[:, :length].astype(np.float64)

    def norm(self, x: Any, name: str) -> Any:
        return rms_norm(x, self.model.weights[f"{name}.weight"], self.model.config["rms_norm_eps"])

    def linear(self, x: Any, name: str) -> Any:
        return x @ self.model.weights[f"{name}.weight"].T + self.model.weights.get(
            f"{name}.bias", 0.0
        )

    def slot(self, number: int) -> Slot:
        if number not in self.slots:
            raise RunnerError(f"Slot {number} holds no sequence.", hint="Report it.")
        return self.slots[number]

    def check_open(self) -> None:
        if self.cache is None:
            raise EngineClosedError("The runner was closed.", hint="Open another one.")

    def check_blocks(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            if not 0 <= block < self.capacity.num_blocks:
                raise BlockAccountingError(f"Block {block} is foreign.", hint="Report it.")

    def check_room(self, slot: Slot, new_blocks: Sequence[int], length: int) -> None:
        if (len(slot.table) + len(new_blocks)) * self.capacity.block_size < length:
            raise BlockAccountingError("The slot has too few blocks.", hint="Report it.")


def completed(drawn: Sequence[Drawn | None]) -> CompletedStep:
    return CompletedStep(
        StepResult(
            token_ids=[-1 if each is None else each.token for each in drawn],
            logprobs=[None if each is None else each.logprobs for each in drawn],
        )
    )
