"""``sagellm bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .configured import config_option, configuration
from .progress import ProgressBar
from .report import print_json
from .state import State, debug_option, json_option
from .suggestions import suggest_backend, suggest_reference
from .table import print_rows, print_table

if TYPE_CHECKING:
    from sagellm_core.config import GeneratorConfig
    from sagellm_core.session import Session

    from .bench_result import BenchResult

_BATCHES = (1, 8, 16)


@click.command()
@click.option(
    "-m",
    "--model",
    metavar="REFERENCE",
    shell_complete=suggest_reference,
    help="What to measure, as in 'sagellm run'. [default: $SAGELLM_MODEL]",
)
@click.option(
    "-b",
    "--backend",
    metavar="NAME",
    shell_complete=suggest_backend,
    help="A provider by name. [default: the best one]",
)
@click.option("--dtype", metavar="NAME", help="What to compute in, as bfloat16.")
@click.option("--quantization", metavar="NAME", help="How weights are kept, as int8.")
@click.option(
    "--prompt-tokens", type=click.IntRange(min=1), default=128, show_default=True, metavar="N"
)
@click.option(
    "--new-tokens", type=click.IntRange(min=2), default=32, show_default=True, metavar="N"
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Medians count.",
)
@config_option
@json_option
@debug_option
@click.pass_obj
def command(state: State, /, **flags: Any) -> None:
    """Measure a model on this machine, in about a minute.

    Prompts are random tokens, answers are greedy and do not end early. Prefill and decode are
    tokens a second over all sequences of a batch.
    """
    from sagellm_core.session import open_session

    from .bench_result import measure
    from .log import show_log

    show_log(state)
    config = _config(state, flags)
    try:
        with ProgressBar() as progress:
            session = open_session(config, progress)
        state.interrupts.check()
        result = measure(
            session,
            batches=_BATCHES,
            prompt_tokens=flags["prompt_tokens"],
            new_tokens=flags["new_tokens"],
            rounds=flags["rounds"],
        )
    except BaseException:
        state.abandoned = True  # closing waits for the step under way, which may be what hangs
        raise
    _show(state, config, session, result)
    session.close()


def _config(state: State, flags: dict[str, Any]) -> GeneratorConfig:
    settings: dict[str, Any] = {
        key: flags[name]
        for name, key in (
            ("model", "model_path"),
            ("backend", "backend_type"),
            ("dtype", "dtype"),
            ("quantization", "quantization"),
        )
        if flags[name]
    }
    if state.disabled:
        settings["disable_plugins"] = state.disabled
    settings["max_num_seqs"] = max(_BATCHES)
    config = configuration(flags["config"], settings).config
    if not config.model_path.strip() and config.backend_type.strip() in ("", "auto"):
        raise click.UsageError(
            "No model was named. Add one, as in: -m org/name, -m ./model.gguf or "
            "-m package:DIST/FILE, or set SAGELLM_MODEL."
        )
    return config


def _show(state: State, config: GeneratorConfig, session: Session, result: BenchResult) -> None:
    if state.json:
        print_json(result.plain() | {"model": config.model_path, "provider": session.provider})
        return
    provider = session.provider
    print_rows(
        [
            ("model", config.model_path),
            ("provider", f"{provider['name']} {provider['version']} on {provider['device']}"),
            ("computes in", f"{provider['dtype']}, quantization {provider['quantization']}"),
            ("prompts", f"{result.prompt_tokens} tokens, {result.new_tokens} new ones"),
            ("load", f"{result.load_s:.2f} s"),
            ("first token", f"{result.ttft_s * 1e3:.1f} ms after the prompt"),
            ("memory", f"{result.peak_rss_bytes / 1e6:.0f} MB at most"),
        ]
    )
    click.echo()
    print_table(
        ("batch", "prefill tok/s", "decode tok/s"),
        [(str(row.batch), f"{row.prefill:.1f}", f"{row.decode:.1f}") for row in result.rows],
    )
