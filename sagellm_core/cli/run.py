"""``sagellm run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .generation import (
    call_options,
    fill_options,
    generation_options,
    open_generator,
    stream_answer,
    tell_if_cut,
)
from .prompt import read_prompt
from .report import print_json
from .state import State, json_option

if TYPE_CHECKING:
    from sagellm_core.generator import SageLLMGenerator


@click.command()
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt; '-' reads standard input.")
@click.option("--stream", is_flag=True, help="Write the answer as it comes.")
@generation_options
@json_option
@click.pass_obj
def command(state: State, /, prompt: str | None, stream: bool, **flags: Any) -> None:
    """Answer one prompt.

    Without -p the prompt is read from standard input. With --json the whole result is printed
    as one object; with --stream too, as one object a line, the last with the whole result.
    """
    options = call_options(flags)
    text = read_prompt(prompt)
    data: Any = text
    if flags["system"] is not None:
        data = [
            {"role": "system", "content": flags["system"]},
            {"role": "user", "content": text},
        ]
    with open_generator(state, flags) as generator:
        fill_options(options, generator)
        if stream:
            _stream(generator, data, options, as_json=state.json)
        else:
            result = generator.execute(data, **options)
            if state.json:
                print_json(result)
            else:
                click.echo(result["text"])
                tell_if_cut(result, options, generator)


def _stream(
    generator: SageLLMGenerator, data: Any, options: dict[str, Any], *, as_json: bool
) -> None:
    with stream_answer(generator, data, options) as chunks:
        for chunk in chunks:
            if as_json:
                line: dict[str, Any] = {"text": str(chunk), "token_ids": list(chunk.token_ids)}
                if chunk.result is not None:
                    line |= {"finish_reason": chunk.finish_reason, "result": chunk.result}
                print_json(line)
                continue
            click.echo(str(chunk), nl=False)
            if chunk.result is not None:
                click.echo()
                tell_if_cut(chunk.result, options, generator)
