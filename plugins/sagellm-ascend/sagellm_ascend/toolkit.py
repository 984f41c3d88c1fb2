"""CANN: where it is installed, in which version, and whether this process could load it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagellm_torch.hardware import read_fields, read_text

#: Variables that CANN's ``set_env.sh`` sets to the folder of the installation.
_HOMES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
#: The folder of its operators, in that folder; torch_npu refuses to start without it.
_OPERATORS = "ASCEND_OPP_PATH"
#: Where its installers put it: up to 8.3, from 8.5 on, without development files, runtime only.
_PLACES = ("ascend-toolkit/latest", "cann", "latest", "nnae/latest", "nnrt/latest")
_LIBRARY = "libascendcl.so"
_LIBRARY_PATH = "LD_LIBRARY_PATH"
#: Fields of ``version.cfg``, any of which has the version: ``[7.6.0.1.220:8.0.0]``.
_VERSION_FIELDS = ("runtime_running_version", "toolkit_running_version")


@dataclass(frozen=True, slots=True)
class Toolkit:
    """An installed CANN."""

    #: Where it is, as the machine's users would write it.
    home: str
    #: As ``8.3.RC1``; empty where its files do not say.
    version: str
    #: The script that sets up its environment.
    script: str
    #: Why this process could not load it, in one clause; empty when nothing is known against it.
    problem: str = ""

    def __str__(self) -> str:
        return f"CANN {self.version}".rstrip()


def find_toolkit(env: Mapping[str, str], root: Path) -> Toolkit | None:
    """The CANN that the environment names, else the first that is installed in a usual place.

    Paths in the environment are taken to be below ``root`` too.
    """
    for home in _candidates(env):
        place = below(root, home)
        if not place.is_dir():
            continue
        version = _version(place)
        if version is None:
            continue
        return Toolkit(home, version, _script(root, home), _problem(env, root))
    return None


def missing_home(env: Mapping[str, str], root: Path) -> str:
    """The assignment in the environment that names a folder which is not there; or nothing."""
    for name in (*_HOMES, _OPERATORS):
        value = env.get(name)
        if value and not below(root, value).is_dir():
            return f"{name}={value}"
    return ""


def below(root: Path, path: str) -> Path:
    """A path of the machine whose file system is at ``root``."""
    return root / path.lstrip("/")


def _candidates(env: Mapping[str, str]) -> Iterator[str]:
    for name in _HOMES:
        if env.get(name):
            yield env[name]
    if env.get(_OPERATORS):
        yield str(Path(env[_OPERATORS]).parent)
    yield from (f"/usr/local/Ascend/{place}" for place in _PLACES)
    if env.get("HOME"):  # Where it goes when it is not installed by root.
        yield from (f"{env['HOME'].rstrip('/')}/Ascend/{place}" for place in _PLACES)


def _version(home: Path) -> str | None:
    """What the files of an installation say; ``None`` where there are none of its files."""
    known = False
    for folder in (home, *sorted(home.glob("*-linux"))):
        for file in sorted(folder.glob("ascend_*_install.info")):
            known = True
            version = read_fields(file, "=").get("version")
            if version:
                return version
    fields = read_fields(home / "version.cfg", "=")
    for name in _VERSION_FIELDS:
        if name in fields:
            return fields[name].strip("[]").rpartition(":")[2]
    parts = (home / "lib64" / _LIBRARY, home / "runtime", home / "opp")
    return "" if known or any(part.exists() for part in parts) else None


def _script(root: Path, home: str) -> str:
    """``set_env.sh`` lies in the folder or, where that is a link to a version, beside it."""
    beside = f"{Path(home).parent}/set_env.sh"
    inside = f"{home.rstrip('/')}/set_env.sh"
    return beside if below(root, beside).is_file() else inside


def _problem(env: Mapping[str, str], root: Path) -> str:
    unset = [name for name in (_HOMES[0], _OPERATORS) if not env.get(name)]
    if unset:
        return f"{' and '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set"
    if not any((folder / _LIBRARY).exists() for folder in _library_folders(env, root)):
        return f"its {_LIBRARY} is not on {_LIBRARY_PATH}"
    return ""


def _library_folders(env: Mapping[str, str], root: Path) -> Iterator[Path]:
    """Where the dynamic linker looks, but for its cache and what it always has."""
    for text in env.get(_LIBRARY_PATH, "").split(":"):
        if text:
            yield below(root, text)
    for file in sorted((root / "etc/ld.so.conf.d").glob("*.conf")):
        for line in (read_text(file) or "").splitlines():
            if line.startswith("/"):
                yield below(root, line.strip())
