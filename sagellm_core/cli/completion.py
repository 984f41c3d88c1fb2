"""``sagellm completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  sagellm completion bash >> ~/.bashrc
    zsh:   sagellm completion zsh >> ~/.zshrc
    fish:  sagellm completion fish > ~/.config/fish/completions/sagellm.fish
    """
    from click.shell_completion import get_completion_class

    root = context.find_root()
    chosen = get_completion_class(shell)
    assert chosen is not None
    click.echo(chosen(root.command, {}, "sagellm", "_SAGELLM_COMPLETE").source())
