"""The mock's own load options."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sagellm_core.contract import ConfigurationError

from .script import Script

#: Path of a script, where neither the options nor the model's path name one.
SCRIPT_VARIABLE = "SAGELLM_MOCK_SCRIPT"

#: Values of ``fail_with``.
FAILURES = ("error", "device_lost", "out_of_memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class MockOptions:
    """How the mock behaves. Keys of ``LoadOptions.provider_options``."""

    #: Prompt to reply, as a mapping or in a YAML file.
    script: Mapping[str, str] | Path | None = None
    #: Seconds that a prefill call takes in which a sequence gets its first token.
    ttft_s: float = 0.0
    #: Seconds that a decode call takes.
    tpot_s: float = 0.0
    #: The runner's so-manieth call, prefill and decode counted together from 1, fails.
    fail_at_step: int | None = None
    #: How: one of :data:`FAILURES`.
    fail_with: str = "error"
    #: A call whose sequences hold more blocks than this together is out of memory.
    oom_at_blocks: int | None = None
    #: KV blocks, whatever the engine asks for.
    num_blocks: int | None = None
    #: Tokens a block, whatever the engine asks for.
    block_size: int | None = None
    #: Longest sequence in tokens.
    context_length: int = 8192
    #: Length of embedding vectors.
    embedding_dimension: int = 64
    #: Texts that an embedder puts before its inputs, by name; ``""`` is the one for all.
    embedding_prompts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> MockOptions:
        """Check options.

        :raises ConfigurationError: an unknown key, or a value of the wrong type or range.
        """
        known = [each.name for each in fields(cls)]
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                raise ConfigurationError(
                    f"The mock provider has no option {key!r}.",
                    hint=f"Did you mean {close[0]!r}?"
                    if close
                    else f"Its options are: {', '.join(known)}.",
                )
        values = dict(given)
        for name in ("ttft_s", "tpot_s"):
            if name in values:
                values[name] = _seconds(name, values[name])
        for name in ("fail_at_step", "oom_at_blocks", "num_blocks", "block_size"):
            if values.get(name) is not None:
                values[name] = _count(name, values[name], 1)
        if "context_length" in values:
            values["context_length"] = _count("context_length", values["context_length"], 2)
        if "embedding_dimension" in values:
            dimension = values["embedding_dimension"]
            values["embedding_dimension"] = _count("embedding_dimension", dimension, 2)
        if "embedding_prompts" in values:
            _check_prompts(values["embedding_prompts"])
        if values.get("fail_with", "error") not in FAILURES:
            raise _wrong("fail_with", values["fail_with"], f"one of {', '.join(FAILURES)}")
        script = values.get("script")
        if isinstance(script, str):
            values["script"] = Path(script)
        elif script is not None and not isinstance(script, (Mapping, Path)):
            raise _wrong("script", script, "a mapping of prompt to reply, or the path of one")
        return cls(**values)

    def load_script(self, reference: str) -> Script:
        """The script of these options, of the model's path, or of the environment.

        :param reference: what the user gave as the model; a YAML file that exists is a script.
        :raises ConfigurationError: the script is missing or malformed.
        """
        if isinstance(self.script, Mapping):
            return Script.from_mapping(self.script)
        if self.script is not None:
            return Script.from_file(self.script.expanduser())
        if reference.endswith((".yaml", ".yml")):
            path = Path(reference).expanduser()
            if path.is_file():
                return Script.from_file(path)
        variable = os.environ.get(SCRIPT_VARIABLE)
        return Script.from_file(Path(variable).expanduser()) if variable else Script({})


def _seconds(name: str, value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value < 0
    ):
        raise _wrong(name, value, "a number of seconds, at least 0")
    return float(value)


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, value, f"an integer of at least {least}")
    return value


def _check_prompts(value: Any) -> None:
    texts = isinstance(value, Mapping) and all(
        isinstance(each, str) for pair in value.items() for each in pair
    )
    if not texts:
        raise _wrong("embedding_prompts", value, "a mapping of name to text")


def _wrong(name: str, value: Any, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"The mock provider's option {name}={value!r} is not valid.",
        hint=f"{name} must be {wanted}.",
    )
