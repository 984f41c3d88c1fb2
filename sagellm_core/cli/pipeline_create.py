"""``sagellm pipeline create-embedding``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from .removed import refuse_vllm, removed_flag
from .state import State, debug_option
from .suggestions import suggest_backend, suggest_file, suggest_reference

#: As in ``sagellm_core.pipeline.settings``, whose import ``--help`` does not need.
_KINDS = ("rag", "knowledge-base", "hybrid-search", "multi-strategy")

#: What embeds. ``hf`` meant models of the Hugging Face hub, which sagellm runs.
_METHODS = ("sagellm", "hf")
_LEXICAL = ("bm25s", "bm25")

_EMBEDDING_MODEL = "BAAI/bge-base-en-v1.5"
_LLM_MODEL = "Qwen/Qwen2.5-7B-Instruct"
_DOCUMENTS = "data/documents"


def _method(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    option = parameter.opts[-1] if parameter.name != "engine" else "--engine"
    refuse_vllm(option, value, context)
    known: tuple[str, ...] = _LEXICAL if parameter.name == "sparse_method" else _METHODS
    if parameter.name == "engine":
        known = ("sagellm",)
    if value.lower() not in known:
        raise click.BadParameter(
            f"{value!r} is not there; models are run here, by {known[0]}. "
            f"Type: {option} {known[0]}",
            context,
            parameter,
        )
    return value.lower()


def _old_method(name: str) -> Callable[[Any], Any]:
    return click.option(name, hidden=True, callback=_method, expose_value=False)


@click.command()
@click.option(
    "-t",
    "--template",
    "kind",
    type=click.Choice(_KINDS),
    default="rag",
    show_default=True,
    help="What the pipeline does.",
)
@click.option(
    "-e",
    "--embedding-method",
    metavar="sagellm",
    default="sagellm",
    callback=_method,
    expose_value=False,
    help="What embeds. [default: sagellm]",
)
@click.option(
    "-m",
    "--embedding-model",
    metavar="REFERENCE",
    shell_complete=suggest_reference,
    help=f"The model that embeds. [default: {_EMBEDDING_MODEL}]",
)
@click.option(
    "--engine",
    metavar="sagellm",
    default="sagellm",
    callback=_method,
    expose_value=False,
    help="What runs the models. [default: sagellm]",
)
@click.option(
    "--llm-model",
    metavar="REFERENCE",
    shell_complete=suggest_reference,
    help=f"The model that answers (rag). [default: {_LLM_MODEL}]",
)
@click.option(
    "--backend",
    default="auto",
    metavar="NAME",
    shell_complete=suggest_backend,
    help="The provider for both models. [default: auto, the best one]",
)
@click.option(
    "-d",
    "--documents",
    metavar="PATH",
    shell_complete=suggest_file,
    help=f"A text file, or a directory with .md and .txt files. [default: {_DOCUMENTS}]",
)
@click.option(
    "--top-k", type=click.IntRange(1), metavar="N", default=5, show_default=True, help="Passages."
)
@click.option(
    "--chunk-size",
    type=click.IntRange(1),
    metavar="N",
    default=512,
    show_default=True,
    help="Most characters of a chunk.",
)
@click.option(
    "--chunk-overlap",
    type=click.IntRange(0),
    metavar="N",
    default=50,
    show_default=True,
    help="Characters that neighbours share.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 65536),
    metavar="N",
    default=32,
    show_default=True,
    help="Most chunks embedded at once.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    default=512,
    show_default=True,
    help="Most tokens of an answer (rag).",
)
@click.option(
    "--cache/--no-cache", default=True, help="Keep vectors in a file beside it. [default: cache]"
)
@click.option(
    "--normalize/--no-normalize",
    default=True,
    help="Compare vectors by direction alone. [default: normalize]",
)
@click.option(
    "--runtime",
    type=click.Choice(["plain", "sage"]),
    help="Run the stages one after the other, or in SAGE's LocalEnvironment. "
    "[default: sage where 'sage' was typed and is installed]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A .py for a program, a .yaml for settings. [default: the template's name, .py]",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option("-i", "--interactive", is_flag=True, help="Ask for everything.")
@_old_method("--dense-method")
@_old_method("--sparse-method")
@_old_method("--query-method")
@_old_method("--doc-method")
@_old_method("--batch-method")
@removed_flag("--vllm", "Type: {command} --engine sagellm")
@debug_option
@click.pass_context
def command(context: click.Context, /, interactive: bool, **flags: Any) -> None:
    """Write a pipeline over your documents that runs as it is.

    \b
    rag             answers questions from the passages nearest in meaning
    knowledge-base  embeds documents into an index file, and searches it
    hybrid-search   searches by meaning and by words, in one ranking
    multi-strategy  searches in the way that fits each question
    """
    from .log import show_log

    state: State = context.obj
    show_log(state)
    if interactive:
        _ask(flags)
    kind: str = flags["kind"]
    if flags["llm_model"] is not None and kind != "rag":
        raise click.UsageError(
            f"--llm-model is for rag: a pipeline of type {kind} finds passages, and no model "
            "answers. Leave it out, or type: -t rag",
            context,
        )
    if kind == "knowledge-base" and not flags["cache"]:
        raise click.UsageError(
            "A knowledge base is an index file, so it cannot do with --no-cache.", context
        )
    if flags["chunk_overlap"] >= flags["chunk_size"]:
        raise click.UsageError(
            f"Chunks of {flags['chunk_size']} characters cannot overlap by "
            f"{flags['chunk_overlap']}: --chunk-overlap must be less than --chunk-size.",
            context,
        )
    output: Path = flags["output"] or Path(f"{kind}.py")
    from sagellm_core.pipeline.creation import write_plan
    from sagellm_core.pipeline.settings import Plan

    runtime = flags["runtime"] or _default_runtime(context)
    plan = Plan(kind=kind, runtime=runtime, settings=_settings(flags, output))
    if interactive and not click.confirm(f"Write it to {output}?", default=True):
        click.echo("Nothing was written.", err=True)
        return
    write_plan(plan, output, overwrite=flags["overwrite"])
    group = context.command_path.rpartition(" ")[0]
    shown = shlex.quote(str(output))
    click.echo(f"Wrote {shown}")
    click.echo(f'Run it with: {group} run {shown} "A question?"', err=True)


def _default_runtime(context: click.Context) -> str:
    typed_sage = context.command_path.split()[0] == "sage"
    return "sage" if typed_sage and find_spec("sagellm_sage") is not None else "plain"


def _settings(flags: dict[str, Any], output: Path) -> dict[str, Any]:
    """Every setting that the kind has, from the flags."""
    from sagellm_core.pipeline.settings import names_of

    values = {
        "documents": _beside(output, flags["documents"] or _DOCUMENTS),
        "index": output.with_suffix(".index.npz").name if flags["cache"] else None,
        "chunk_size": flags["chunk_size"],
        "chunk_overlap": flags["chunk_overlap"],
        "top_k": flags["top_k"],
        "normalize": flags["normalize"],
        "dense_weight": 0.6,
        "sparse_weight": 0.4,
        "embedding": {
            "backend_type": flags["backend"],
            "model_path": flags["embedding_model"] or _EMBEDDING_MODEL,
            "batch_size": flags["batch_size"],
        },
        "generator": {
            "sagellm": {
                "backend_type": flags["backend"],
                "model_path": flags["llm_model"] or _LLM_MODEL,
                "max_tokens": flags["max_tokens"],
            }
        },
    }
    return {name: values[name] for name in names_of(flags["kind"])}


def _beside(output: Path, documents: str) -> str:
    """A path as the pipeline's file says it, so that the pipeline runs from any directory."""
    if documents.startswith("~") or Path(documents).is_absolute():
        return documents
    return os.path.relpath(documents, output.parent.resolve())


def _ask(flags: dict[str, Any]) -> None:
    """Ask for what a pipeline needs; what was typed already is the answer offered."""
    kind = click.prompt("Template", default=flags["kind"], type=click.Choice(_KINDS), err=True)
    flags["kind"] = kind
    flags["documents"] = click.prompt(
        "Documents", default=flags["documents"] or _DOCUMENTS, err=True
    )
    flags["embedding_model"] = click.prompt(
        "Embedding model", default=flags["embedding_model"] or _EMBEDDING_MODEL, err=True
    )
    if kind == "rag":
        flags["llm_model"] = click.prompt(
            "LLM model", default=flags["llm_model"] or _LLM_MODEL, err=True
        )
    flags["backend"] = click.prompt("Backend", default=flags["backend"], err=True)
    output = click.prompt(
        "Write to", default=str(flags["output"] or f"{kind}.py"), type=str, err=True
    )
    flags["output"] = Path(output)
