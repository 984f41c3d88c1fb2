"""vLLM's engine arguments: which are honoured, which change nothing, which are refused."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagellm_core.contract import MAX_LOGPROBS, ConfigurationError, UnsupportedOptionError

_log = logging.getLogger("sagellm")

#: vLLM's name to the name in :class:`~sagellm_core.GeneratorConfig`; ``None`` means "not set".
_RENAMED = {
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_prefill_tokens",
    "block_size": "block_size",
    "num_gpu_blocks_override": "num_blocks",
    "kv_cache_memory_bytes": "kv_memory_bytes",
    "enable_prefix_caching": "prefix_cache",
    "backend_type": "backend_type",
    "provider_options": "provider_options",
    "allow_fallback": "allow_fallback",
    "disable_plugins": "disable_plugins",
    "cache_dir": "cache_dir",
}

#: Arguments that change no answer here, whatever their value.
_WITHOUT_EFFECT = frozenset(
    {
        "allowed_local_media_path",
        "async_scheduling",
        "code_revision",
        "compilation_config",
        "cpu_offload_gb",
        "cuda_graph_sizes",
        "device",
        "disable_async_output_proc",
        "disable_cascade_attn",
        "disable_custom_all_reduce",
        "disable_log_requests",
        "disable_log_stats",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_sleep_mode",
        "enforce_eager",
        "gpu_memory_utilization",
        "guided_decoding_backend",
        "hf_token",
        "ignore_patterns",
        "kv_sharing_fast_prefill",
        "long_prefill_token_threshold",
        "max_context_len_to_capture",
        "max_long_partial_prefills",
        "max_num_partial_prefills",
        "max_parallel_loading_workers",
        "max_seq_len_to_capture",
        "mm_processor_cache_gb",
        "model_impl",
        "num_scheduler_steps",
        "optimization_level",
        "preemption_mode",
        "prefix_caching_hash_algo",
        "ray_workers_use_nsight",
        "reasoning_parser",
        "scheduler_delay_factor",
        "scheduling_policy",
        "served_model_name",
        "speculative_config",
        "speculative_model",
        "num_speculative_tokens",
        "structured_outputs_config",
        "swap_space",
        "trust_remote_code",
        "use_tqdm_on_load",
        "use_v2_block_manager",
        "worker_use_ray",
    }
)

#: Arguments that are taken only with one of these values, and what to do about others.
_ONE_DEVICE = "Each model runs on one device here; use a smaller or quantised model."
_MODEL_AS_IT_IS = "The model's own configuration is used as it is; edit its config.json instead."
_ONLY: dict[str, tuple[tuple[Any, ...], str]] = {
    "tensor_parallel_size": ((1, None), _ONE_DEVICE),
    "pipeline_parallel_size": ((1, None), _ONE_DEVICE),
    "data_parallel_size": ((1, None), _ONE_DEVICE),
    "enable_expert_parallel": ((False, None), _ONE_DEVICE),
    "tokenizer_mode": (("auto", "hf", None), "The model's own tokenizer is used."),
    "skip_tokenizer_init": (
        (False, None),
        "Leave it out; prompts of token ids work without it, and detokenize=False skips text.",
    ),
    "load_format": (
        ("auto", "safetensors", "gguf", "hf", None),
        "Models are safetensors directories or GGUF files.",
    ),
    "config_format": (("auto", "hf", None), "Models are described by a config.json or a GGUF."),
    "kv_cache_dtype": (("auto", None), "Keys and values are kept as the provider computes them."),
    "task": (("auto", "generate", "embed", "embedding", None), "Text and embeddings only."),
    "runner": (("auto", "generate", "pooling", None), "Text and embeddings only."),
    "convert": (("auto", "none", "embed", None), "Text and embeddings only."),
    "logprobs_mode": (("raw_logprobs", None), "Log-probabilities are the model's own."),
    "enable_lora": ((False, None), "Merge the adapter into the model."),
    "enable_prompt_adapter": ((False, None), "Leave it out."),
    "enable_prompt_embeds": ((False, None), "Pass text or token ids."),
    "disable_sliding_window": ((False, None), _MODEL_AS_IT_IS),
    "hf_config_path": ((None,), _MODEL_AS_IT_IS),
    "hf_overrides": ((None, {}), _MODEL_AS_IT_IS),
    "rope_scaling": ((None, {}), _MODEL_AS_IT_IS),
    "rope_theta": ((None,), _MODEL_AS_IT_IS),
    "chat_template": ((None,), "The model's own chat template is used; render prompts yourself."),
    "logits_processors": ((None, []), "Use logit_bias of SamplingParams."),
    "logits_processor_pattern": ((None,), "Use logit_bias of SamplingParams."),
    "limit_mm_per_prompt": ((None, {}), "Prompts are text or token ids."),
    "mm_processor_kwargs": ((None, {}), "Prompts are text or token ids."),
    "override_pooler_config": ((None,), "Use EmbeddingEngine(pooling=...) of sagellm_core."),
    "pooler_config": ((None,), "Use EmbeddingEngine(pooling=...) of sagellm_core."),
    "additional_config": ((None, {}), "Leave it out; provider_options=... goes to a provider."),
    "worker_cls": (("auto", None), "Leave it out; providers are plugins."),
    "worker_extension_cls": (("", None), "Leave it out; providers are plugins."),
    "kv_transfer_config": ((None,), "Leave it out."),
}

_DTYPES = {"half": "float16", "float": "float32"}
_KNOWN = (
    "dtype",
    "generation_config",
    "max_logprobs",
    "model",
    "override_generation_config",
    "quantization",
    "revision",
    "seed",
    "tokenizer",
    "tokenizer_revision",
    *_RENAMED,
    *_WITHOUT_EFFECT,
    *_ONLY,
)


@dataclass(frozen=True, slots=True)
class LLMArguments:
    """What the constructor's arguments come to."""

    #: Keyword arguments of :class:`~sagellm_core.SageLLMGenerator`.
    generator: dict[str, Any]
    #: Whether embeddings are wanted and no text.
    embeds: bool
    #: Whether text is wanted; neither: what the model is for.
    generates: bool
    #: Requests without a seed of their own get one derived from it; ``None``: random ones.
    seed: int | None
    #: ``auto``, ``vllm`` or a directory.
    generation_config: str
    generation_overrides: Mapping[str, Any] = field(default_factory=dict)


def read_arguments(model: Any, arguments: Mapping[str, Any]) -> LLMArguments:
    """Sort vLLM's arguments.

    Those that change no answer are named in one warning of the log.

    :raises UnsupportedOptionError: an argument that would change answers and is not offered.
    :raises ConfigurationError: an argument that vLLM has not either, or of the wrong type.
    """
    given = dict(arguments)
    for name in given:
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            raise ConfigurationError(
                f"LLM() has no argument {name!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else "docs/vllm.md lists them all.",
            )
    for name, (accepted, hint) in _ONLY.items():
        value = given.pop(name, accepted[0])
        # Not "value in accepted": True is 1 to that.
        if not any(value is one or (value == one and type(value) is type(one)) for one in accepted):
            raise UnsupportedOptionError(f"LLM({name}={value!r}) is not offered.", hint=hint)
    noted = [name for name in given if name in _WITHOUT_EFFECT]
    values: dict[str, Any] = {"model_path": _reference(model, given, noted), "timeout": None}
    for name, ours in _RENAMED.items():
        if given.get(name) is not None:
            values[ours] = given[name]
    _add_dtype(values, given.get("dtype", "auto"))
    _add_quantization(values, given.get("quantization"))
    _check_max_logprobs(given.get("max_logprobs"))
    if noted:
        _log.warning("LLM: %s: no effect on answers here", ", ".join(sorted(noted)))
    embeds = arguments.get("task") in ("embed", "embedding")
    embeds = embeds or arguments.get("runner") == "pooling" or arguments.get("convert") == "embed"
    overrides = given.get("override_generation_config") or {}
    if not isinstance(overrides, Mapping):
        raise ConfigurationError(
            f"override_generation_config is of type {type(overrides).__name__}.",
            hint='Pass a dict, as in {"temperature": 0.2}.',
        )
    return LLMArguments(
        generator=values,
        embeds=embeds,
        generates="generate" in (arguments.get("task"), arguments.get("runner")),
        seed=_seed(given.get("seed", 0)),
        generation_config=str(given.get("generation_config") or "auto"),
        generation_overrides=dict(overrides),
    )


def _reference(model: Any, given: Mapping[str, Any], noted: list[str]) -> str:
    if not isinstance(model, (str, Path)) or not str(model):
        raise ConfigurationError(
            f"model={model!r} is not a model reference.",
            hint="Pass a directory, a .gguf file, org/name or a registry id.",
        )
    reference = str(model)
    tokenizer = given.get("tokenizer")
    if tokenizer is not None and str(tokenizer) != reference:
        raise UnsupportedOptionError(
            f"LLM(tokenizer={str(tokenizer)!r}) is not offered: it is not the model's own.",
            hint="Leave tokenizer out, or pass token ids that you encoded with it.",
        )
    revision = given.get("revision")
    tokenizer_revision = given.get("tokenizer_revision")
    if tokenizer_revision not in (None, revision):
        raise UnsupportedOptionError(
            f"LLM(tokenizer_revision={tokenizer_revision!r}) is not offered: it is not the "
            "model's revision.",
            hint="Leave tokenizer_revision out.",
        )
    if revision is None:
        return reference
    if Path(reference).expanduser().exists():
        # A directory is one revision; vLLM does not look at the argument then either.
        noted.append("revision")
        return reference
    return f"{reference}@{revision}"


def _add_dtype(values: dict[str, Any], dtype: Any) -> None:
    # torch.float16 prints as "torch.float16"; torch itself need not be imported for that.
    name = str(dtype).removeprefix("torch.")
    if name != "auto":
        values["dtype"] = _DTYPES.get(name, name)


def _add_quantization(values: dict[str, Any], method: Any) -> None:
    if method in (None, "gguf"):
        return
    if method not in ("none", "int8", "int4"):
        raise UnsupportedOptionError(
            f"LLM(quantization={method!r}) is not offered.",
            hint="Use a GGUF file, or quantization='int8' or 'int4' with a provider that has it.",
        )
    values["quantization"] = method


def _check_max_logprobs(value: Any) -> None:
    if isinstance(value, int) and (value > MAX_LOGPROBS or value < 0):
        raise UnsupportedOptionError(
            f"LLM(max_logprobs={value}) is not offered.", hint=f"At most {MAX_LOGPROBS} are."
        )


def _seed(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigurationError(
            f"seed={value!r} is not valid.", hint="Pass an integer, or None for random answers."
        )
    return value
