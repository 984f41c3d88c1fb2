"""sagellm through its own engine: what a caller of the Python API gets."""

from __future__ import annotations

import sys

from .child import Generate, serve


def _open(model: str, *, threads: int, context: int, batch: int, quantization: str) -> Generate:
    from sagellm_core.contract import EngineConfig, LoadOptions, SamplingParams
    from sagellm_core.engine import EngineClient, LLMEngine
    from sagellm_core.providers import Controls, choose_provider, load_provider
    from sagellm_core.session import cache_directory

    provider = load_provider(choose_provider(model, Controls.from_environment(backend="cpu")))
    loaded = provider.load_model(
        LoadOptions(
            quantization=quantization or None,
            cache_dir=cache_directory(),
            provider_options={"threads": threads},
        )
    )
    # A prompt that comes again would be found in the prefix cache; no peer has one here.
    config = EngineConfig(max_model_len=context, max_num_seqs=batch, prefix_cache=False)
    client = EngineClient(LLMEngine.open(provider, loaded, config))

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        sampling = SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True)
        return [list(done.token_ids) for done in client.generate(prompts, sampling)]

    return generate


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("sagellm-core"), _open))
