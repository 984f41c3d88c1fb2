"""sagellm through its own engine: what a caller of the Python API gets."""

from __future__ import annotations

import sys
import threading
import time

from .child import Arrival, Opened, serve


def _open(
    model: str,
    *,
    threads: int,
    context: int,
    batch: int,
    quantization: str | None = None,
    prefix_cache: bool = False,
) -> Opened:
    from sagellm_core.contract import (
        EngineConfig,
        GenerationRequest,
        LoadOptions,
        SamplingParams,
        TokenEvent,
    )
    from sagellm_core.engine import EngineClient, LLMEngine
    from sagellm_core.providers import Controls, choose_provider, load_provider
    from sagellm_core.session import cache_directory

    provider = load_provider(choose_provider(model, Controls.from_environment(backend="cpu")))
    loaded = provider.load_model(
        LoadOptions(
            quantization=quantization,
            cache_dir=cache_directory(),
            provider_options={"threads": threads},
        )
    )
    # Off unless it is what is measured: a prompt that comes again would be found in it.
    config = EngineConfig(max_model_len=context, max_num_seqs=batch, prefix_cache=prefix_cache)
    engine = LLMEngine.open(provider, loaded, config)
    client = EngineClient(engine)

    def sampling(new_tokens: int) -> SamplingParams:
        return SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True)

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        return [list(done.token_ids) for done in client.generate(prompts, sampling(new_tokens))]

    def follow(arrivals: list[Arrival]) -> list[tuple[float, float]]:
        first: dict[int, float] = {}
        last: dict[int, float] = {}
        errors: list[BaseException] = []
        over = threading.Semaphore(0)
        begin = time.perf_counter()

        def sink(event: TokenEvent) -> None:
            index, now = int(event.request_id), time.perf_counter() - begin
            if event.token_ids:
                first.setdefault(index, now)
            if event.last:
                last[index] = now
                if event.error is not None:
                    errors.append(event.error)
                over.release()

        for index, given in enumerate(arrivals):
            time.sleep(max(0.0, given.at_s - (time.perf_counter() - begin)))
            engine.submit(
                GenerationRequest(
                    request_id=str(index),
                    prompt_token_ids=tuple(given.prompt),
                    sampling=sampling(given.new_tokens),
                ),
                sink,
            )
        for _ in arrivals:
            over.acquire()
        if errors:
            raise errors[0]
        return [(first[index], last[index]) for index in range(len(arrivals))]

    return Opened(generate, f"{loaded.dtype}, {loaded.quantization}", follow)


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("sagellm-core"), _open))
