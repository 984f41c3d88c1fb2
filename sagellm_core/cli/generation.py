"""The flags that ``run`` and ``chat`` share, and the generator that they describe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from .configured import config_option, configuration
from .progress import ProgressBar
from .state import State, debug_option
from .suggestions import suggest_backend, suggest_prompt_format, suggest_reference

if TYPE_CHECKING:
    from collections.abc import Generator

    from sagellm_core.generator import SageLLMGenerator
    from sagellm_core.results import TextChunk

#: Flags that become options of a call: click's arguments, as ``(declarations, help)``. Values
#: come as text and are judged by the generator, whose errors name the range that click would not
#: know.
_CALL_FLAGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--max-tokens",), "Most new tokens. [default: 256, or what the context holds]"),
    (("-t", "--temperature"), "0 takes the most probable token each time. [default: 0.7]"),
    (("--top-p",), "Keep the likeliest tokens up to this probability. [default: 0.9]"),
    (("--top-k",), "Keep so many of the likeliest tokens; 0 keeps all. [default: 40]"),
    (("--min-p",), "Drop tokens below this share of the likeliest one's probability."),
    (("--repetition-penalty",), "Above 1, tokens that occurred get less likely."),
    (("--presence-penalty",), "Subtracted from tokens that the answer has."),
    (("--frequency-penalty",), "The same, for each time that it has them."),
    (("--seed",), "Same seed, same answer."),
    (("--timeout",), "Seconds for one answer once the model is loaded. [default: 120]"),
)

#: Most new tokens of an answer where nobody said otherwise: no flag, variable or file.
_MAX_TOKENS = 256
#: The same for how they are drawn.
_DRAWING = {"temperature": 0.7, "top_p": 0.9, "top_k": 40}


def generation_options(command: Any) -> Any:
    """Add the flags that choose a model, a provider and how tokens are drawn."""
    decorators = [
        config_option,
        click.option(
            "-m",
            "--model",
            metavar="REFERENCE",
            shell_complete=suggest_reference,
            help="A directory, a .gguf file, org/name, package:DIST/FILE or a registered name. "
            "[default: $SAGELLM_MODEL]",
        ),
        click.option(
            "-b",
            "--backend",
            metavar="NAME",
            shell_complete=suggest_backend,
            help="A provider by name. [default: the best one]",
        ),
        *(
            click.option(*declarations, metavar="N", help=text)
            for declarations, text in _CALL_FLAGS
        ),
        click.option("--stop", multiple=True, metavar="TEXT", help="End before this text."),
        click.option(
            "--prompt-format",
            metavar="auto|chat|raw",
            shell_complete=suggest_prompt_format,
            help="Through the model's chat template, or as it is. [default: auto]",
        ),
        click.option("--system", metavar="TEXT", help="A system message before the prompt."),
        click.option("--dtype", metavar="NAME", help="What to compute in, as bfloat16."),
        click.option(
            "--quantization",
            metavar="NAME",
            help="How weights are kept: none, int8 or int4. [default: the provider's choice]",
        ),
        click.option(
            "--allow-fallback",
            is_flag=True,
            help="Let auto pass over a provider whose hardware is there but broken.",
        ),
        click.option(
            "--option",
            "provider_options",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of the provider's own. May be repeated.",
        ),
        debug_option,
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@contextmanager
def open_generator(state: State, flags: dict[str, Any]) -> Iterator[SageLLMGenerator]:
    """The generator that the flags describe, loaded, and shut down after the block.

    After an error or Ctrl-C it is left to the end of the process instead: shutting down waits
    for the step under way, which may be what hangs.

    :raises SageLLMError: no provider, a bad model, a wrong flag, ...
    """
    from .log import show_log

    show_log(state)
    generator = _make_generator(state, flags)
    try:
        with ProgressBar() as progress:
            generator.load(on_progress=progress)
        state.interrupts.check()
        yield generator
    except BaseException:
        state.abandoned = True
        raise
    generator.shutdown()


def _make_generator(state: State, flags: dict[str, Any]) -> SageLLMGenerator:
    """The generator that the flags describe; nothing is loaded yet.

    :raises click.UsageError: no model was named.
    :raises ConfigurationError: a flag's value is not valid.
    """
    settings: dict[str, Any] = {}
    if flags["model"]:
        settings["model_path"] = flags["model"]
    if flags["backend"]:
        settings["backend_type"] = flags["backend"]
    for name in ("dtype", "quantization"):
        if flags[name] is not None:
            settings[name] = flags[name]
    if flags["allow_fallback"]:
        settings["allow_fallback"] = True
    if state.disabled:
        settings["disable_plugins"] = state.disabled
    if flags["provider_options"]:
        settings["provider_options"] = _provider_options(flags["provider_options"])
    from sagellm_core.generator import SageLLMGenerator

    config = configuration(flags["config"], settings).config
    # A backend asked for by name may need no model; the others say themselves that it is missing.
    if not config.model_path.strip() and config.backend_type.strip() in ("", "auto"):
        raise click.UsageError(
            "No model was named. Add one, as in: -m org/name, -m ./model.gguf or "
            "-m package:DIST/FILE, or set SAGELLM_MODEL."
        )
    return SageLLMGenerator(config)


def call_options(flags: dict[str, Any]) -> dict[str, Any]:
    """The options of ``execute`` and ``stream`` that the flags describe.

    :raises InvalidRequestError: a value of the wrong type or outside its range. They are
        checked here because loading a model before saying so would take its time.
    """
    options: dict[str, Any] = {}
    for names, _ in _CALL_FLAGS:
        name = names[-1].removeprefix("--").replace("-", "_")
        if flags[name] is not None:
            options[name] = _number(flags[name])
    if flags["stop"]:
        options["stop"] = list(flags["stop"])
    if flags["prompt_format"] is not None:
        options["prompt_format"] = flags["prompt_format"]
    from sagellm_core.options import check_options

    check_options(options)
    return options


def fill_options(options: dict[str, Any], generator: SageLLMGenerator) -> None:
    """Set what the command line has defaults of its own for, where nobody said anything.

    What a variable or a file says is as good as a flag. A model with a context shorter than
    the limit is no reason to refuse the prompt.
    """
    config = generator.config
    said = config.model_fields_set | set(config.default_options)
    for key, value in _DRAWING.items():
        if key not in said:
            options.setdefault(key, value)
    if not {"max_tokens", "max_new_tokens"} & said:
        options.setdefault("max_tokens", min(_MAX_TOKENS, generator.context_length))


def tell_if_cut(
    result: dict[str, Any], options: dict[str, Any], generator: SageLLMGenerator
) -> None:
    """Tell a person that an answer did not end of itself, and what allows more."""
    if result["finish_reason"] != "length" or sys.stderr is None or not sys.stderr.isatty():
        return
    from sagellm_core.options import call_options

    tokens = result["usage"]["completion_tokens"]
    limit = call_options(generator.config.call_options(), options).sampling.max_tokens
    if limit is not None and tokens >= limit:
        why = f"after {tokens} tokens; --max-tokens N allows more"
    else:
        why = f"where the context of {generator.context_length} tokens is full"
    click.echo(f"(cut off {why})", err=True)


def stream_answer(
    generator: SageLLMGenerator, data: Any, options: dict[str, Any]
) -> closing[Generator[TextChunk, None, None]]:
    """A context manager over the pieces of an answer; leaving it cancels what is under way."""
    return closing(generator.stream(data, **options))


def _number(text: str) -> int | float | str:
    """The number that ``text`` writes; other text stays, for the error that names it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _provider_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    from sagellm_core.contract.errors import ConfigurationError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--option {pair!r} does not have the form KEY=VALUE.")
        try:
            options[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"The value of --option {key} is not valid YAML: {value[:60]!r}.",
                hint="Quote text with special characters, as in --option 'name=\"a: b\"'.",
            ) from error
    return options
