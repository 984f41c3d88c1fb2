"""``sagellm llm``, which is ``sage llm`` too."""

from __future__ import annotations

import click

from .removed import GroupWithRemoved

_NO_SERVER = (
    "No server is needed: '{group} run -m MODEL -p TEXT' answers here, and a pipeline computes "
    "in its own process with SageLLMGenerator."
)
_NO_PROCESS = "Nothing runs in the background any more; see: {group} status"


@click.group(
    cls=GroupWithRemoved,
    table={
        "config": ("config", "Show, check or write the configuration."),
        "model": ("llm_model", "List, download, show or delete models."),
        "run": ("run", "Answer one prompt."),
        "status": ("llm_status", "What is installed, and what auto would pick."),
    },
    removed={
        "serve": _NO_SERVER,
        "start": _NO_SERVER,
        "stop": _NO_PROCESS,
        "restart": _NO_PROCESS,
        "logs": _NO_PROCESS,
        "fine-tune": "sagellm runs models and trains none.",
        "list-models": "Type: {group} model list",
        "info": "Type: {group} status",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Models and their configuration, as SAGE has them.

    The same commands are there as 'sage llm' and as 'sagellm llm'.
    """
