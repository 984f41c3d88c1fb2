"""``sagellm chat``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .conversation import Conversation
from .generation import (
    call_options,
    fill_options,
    generation_options,
    open_generator,
    stream_answer,
    tell_if_cut,
)
from .line_input import LineInput
from .report import report_error
from .state import State

if TYPE_CHECKING:
    from sagellm_core.generator import SageLLMGenerator

_HELP = '''\
/help           this text
/clear          forget the conversation
/system TEXT    set the system message; without TEXT, remove it
/exit           leave (also Ctrl-D)
A line that ends in \\ goes on in the next; """ begins and ends a block of lines.
Ctrl-C stops an answer; what came of it stays in the conversation.'''


@click.command()
@click.option("--stream", is_flag=True, hidden=True, help="Accepted: chat always streams.")
@generation_options
@click.pass_obj
def command(state: State, /, stream: bool, **flags: Any) -> int:
    """Talk with a model. Each line is a message; /help shows the commands.

    Where standard input is a pipe, each of its lines is a message too.
    """
    options = call_options(flags)
    with open_generator(state, flags) as generator:
        fill_options(options, generator)
        return _Chat(state, generator, options, Conversation(flags["system"])).run()


class _Chat:
    def __init__(
        self,
        state: State,
        generator: SageLLMGenerator,
        options: dict[str, Any],
        conversation: Conversation,
    ) -> None:
        self._state = state
        self._generator = generator
        self._options = options
        self._conversation = conversation
        self._input = LineInput()
        self._failed = False

    def run(self) -> int:
        """Answer turns until the input ends; returns the exit code."""
        interrupted_before = False
        if self._input.interactive:
            click.echo("/help shows the commands, Ctrl-D leaves.", err=True)
        while True:
            try:
                turn = self._input.read_turn()
            except KeyboardInterrupt:
                if interrupted_before or not self._input.interactive:
                    raise
                interrupted_before = True
                self._state.interrupts.dealt_with()
                click.echo("\n(Ctrl-C again, or Ctrl-D, leaves.)", err=True)
                continue
            interrupted_before = False
            if turn is None or not self._take(turn):
                # A person has seen the errors; a script has to be told.
                failed = self._failed and not self._input.interactive
                return exit_codes.ERROR if failed else exit_codes.OK

    def _take(self, turn: str) -> bool:
        """Deal with one turn; returns whether to go on."""
        word, _, rest = turn.strip().partition(" ")
        if not word:
            return True
        if not word.startswith("/") or "\n" in turn:
            self._answer(turn)
        elif word in ("/exit", "/quit"):
            return False
        elif word == "/clear":
            self._conversation.clear()
            click.echo("The conversation is forgotten.", err=True)
        elif word == "/system":
            self._conversation.system = rest.strip() or None
            click.echo(f"System message {'set' if rest.strip() else 'removed'}.", err=True)
        elif word == "/help":
            click.echo(_HELP, err=True)
        else:
            click.echo(f"There is no command {word}; /help shows them.", err=True)
            self._failed = True
        return True

    def _answer(self, question: str) -> None:
        from sagellm_core.contract.errors import PromptTooLongError, SageLLMError

        reply: list[str] = []
        try:
            messages = self._conversation.ask(question)
            with stream_answer(self._generator, messages, self._options) as chunks:
                for chunk in chunks:
                    click.echo(str(chunk), nl=False)
                    reply.append(str(chunk))
                    if chunk.result is not None:
                        click.echo()
                        tell_if_cut(chunk.result, self._options, self._generator)
        except KeyboardInterrupt:
            self._state.interrupts.dealt_with()
            click.echo()
            click.echo("(stopped)", err=True)
        except SageLLMError as error:
            if reply:
                click.echo()
            report_error(error, self._state)
            self._failed = True
            if isinstance(error, PromptTooLongError) and len(self._conversation):
                click.echo("/clear forgets the conversation and makes room.", err=True)
        self._conversation.keep(question, "".join(reply))
