"""``sagellm pipeline``, which is ``sage pipeline`` too."""

from __future__ import annotations

import click

from .removed import GroupWithRemoved


@click.group(
    cls=GroupWithRemoved,
    table={
        "create-embedding": ("pipeline_create", "Write a pipeline over your documents."),
        "run": ("pipeline_run", "Run a pipeline that was written so."),
    },
    removed={
        "create": "Type: {group} create-embedding --engine sagellm",
        "build": "Type: {group} create-embedding --engine sagellm",
        "analyze-embedding": "EmbeddingEngine(...).embed(texts) gives the vectors to compare.",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Create and run pipelines over your documents.

    The same commands are there as 'sage pipeline' and as 'sagellm pipeline'.
    """
