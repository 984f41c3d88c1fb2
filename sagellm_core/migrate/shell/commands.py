"""Commands of SAGE and of pip with options and packages that went away with vLLM."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from sagellm_core.migrate.edit import Edit, Lines
from sagellm_core.migrate.finding import Finding, Rewrite
from sagellm_core.migrate.requirements import is_vllm, replace_requirement
from sagellm_core.migrate.survey import Survey

from .words import Word, commands

#: What may stand before a command's name.
_BEFORE = frozenset(
    ("if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "exec", "sudo")
) | {"command", "nohup", "env", "builtin"}
_ASSIGNMENT = re.compile(r"\w+=")
_VALUE_OPTIONS = ("--engine", "--prefer")
#: Old forms inside a substitution, whose words are not taken apart.
_INSIDE = re.compile(
    r"(?:\$\(|`)[^`]*(?:--vllm\b|--(?:engine|prefer)[= ]vllm\b"
    r"|\binstall\b[^`)]*[ '\"]vllm\b(?![-\w]))"
)
_VLLM = re.compile(r"(?<![\w-])vllm(?![\w-])")
_PIP = re.compile(r"pip[\d.]*")
_PYTHON = re.compile(r"python[\d.]*")


def rewrite_shell(text: str, survey: Survey) -> Rewrite:
    """Rewrite a shell script.

    :param survey: whether other files still need vLLM itself; then installing it stays.
    """
    out = Rewrite()
    lines = Lines(text)
    for words in commands(text):
        for word in words:
            if word.value is None and _INSIDE.search(text[word.start : word.end]):
                out.left.append(Finding(lines.number(word.start), "a command inside $( )"))
        name = _skip_prefix(words)
        if name < len(words):
            _rewrite_command(text, words[name:], lines, survey, out)
    return out


def _skip_prefix(words: Sequence[Word]) -> int:
    position, options_of = 0, ""
    while position < len(words):
        value = words[position].value
        if value is not None and value in _BEFORE:
            options_of = value
        elif value is not None and value.startswith("-") and options_of in ("sudo", "env", "exec"):
            pass
        elif value is None or not _ASSIGNMENT.match(value):
            break
        position += 1
    return position


def _rewrite_command(
    text: str, words: Sequence[Word], lines: Lines, survey: Survey, out: Rewrite
) -> None:
    name = PurePosixPath(words[0].value or "").name
    if name in ("sage", "sagellm"):
        _sage(text, words, lines, out)
    elif name == "vllm":
        out.left.append(
            Finding(lines.number(words[0].start), "vLLM's own command; there is no server to start")
        )
    elif _PYTHON.fullmatch(name) and len(words) > 2 and words[1].value == "-m":
        module = words[2].value or ""
        if module == "pip":
            _install(text, words[3:], lines, survey, out)
        elif module == "sage" or module.startswith("sage.cli"):
            _sage(text, words[2:], lines, out)
        elif module.startswith("vllm."):
            out.left.append(
                Finding(lines.number(words[0].start), "a program of vLLM's own; it stays")
            )
    elif _PIP.fullmatch(name):
        _install(text, words[1:], lines, survey, out)
    elif name == "uv" and len(words) > 2:
        if words[1].value == "pip":
            _install(text, words[2:], lines, survey, out)
        elif words[1].value == "add":
            _packages(text, words[2:], lines, survey, out)
    elif name in ("conda", "mamba", "micromamba") and any(
        word.value is not None and is_vllm(word.value) for word in words[1:]
    ):
        out.left.append(
            Finding(lines.number(words[0].start), f"{name} installs vLLM; sagellm comes from PyPI")
        )
    elif name in ("poetry", "pdm") and len(words) > 2 and words[1].value == "add":
        _packages(text, words[2:], lines, survey, out)


def _sage(text: str, words: Sequence[Word], lines: Lines, out: Rewrite) -> None:
    values = [word.value for word in words]
    for at, word in enumerate(words):
        line = lines.number(word.start)
        if word.value == "--vllm" and "pipeline" in values[:at]:
            out.edits.append(_cut(text, words, at))
            out.changes.append(Finding(line, "--vllm removed"))
        elif word.value == "--vllm":
            out.left.append(Finding(line, "--vllm of a command other than 'sage pipeline'"))
        elif word.value in _VALUE_OPTIONS and at + 1 < len(words):
            if words[at + 1].value == "vllm":
                _replace_value(text, words[at + 1], out)
                out.changes.append(Finding(line, f"{word.value} vllm -> {word.value} sagellm"))
            elif words[at + 1].value is None and _VLLM.search(text):
                out.left.append(Finding(line, f"{word.value} of a variable, which may be vllm"))
        elif word.value in [f"{option}=vllm" for option in _VALUE_OPTIONS]:
            _replace_value(text, word, out)
            option = word.value.partition("=")[0]
            out.changes.append(Finding(line, f"{option} vllm -> {option} sagellm"))


def _replace_value(text: str, word: Word, out: Rewrite) -> None:
    at = text.rindex("vllm", word.start, word.end)
    out.edits.append(Edit(at, at + 4, "sagellm"))


def _cut(text: str, words: Sequence[Word], at: int) -> Edit:
    """The edit that takes a word out, with the white space or the line that it came with."""
    before, word = words[at - 1], words[at]
    after = words[at + 1] if at + 1 < len(words) else None
    starts_line = "\n" in text[before.end : word.start]
    if starts_line and after is not None and "\n" not in text[word.end : after.start]:
        return Edit(word.start, after.start, "")
    return Edit(before.end, word.end, "")


def _install(text: str, words: Sequence[Word], lines: Lines, survey: Survey, out: Rewrite) -> None:
    if words and words[0].value == "install":
        _packages(text, words[1:], lines, survey, out)


def _packages(text: str, words: Sequence[Word], lines: Lines, survey: Survey, out: Rewrite) -> None:
    for at, word in enumerate(words):
        if word.value is None or word.value.startswith("-"):
            continue
        before = words[at - 1].value if at else None
        if before in ("-r", "-c", "-e", "--requirement", "--constraint", "--editable"):
            continue
        if not is_vllm(word.value):
            continue
        line = lines.number(word.start)
        if survey.vllm_users:
            out.left.append(Finding(line, f"vllm stays: {survey.vllm_users[0]} still imports it"))
            continue
        new = replace_requirement(word.value)
        if new is None:
            out.left.append(Finding(line, f"{word.value} installs vLLM from a place of its own"))
            continue
        written = text[word.start : word.end]
        quote = written[0] if written[0] in "\"'" and written[-1] == written[0] else ""
        # A marker has white space in it and needs the quotes.
        keep = quote if " " in new or quote else ""
        out.edits.append(Edit(word.start, word.end, f"{keep}{new}{keep}"))
        out.changes.append(Finding(line, f"{word.value} -> {new}"))
