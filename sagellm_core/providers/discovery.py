"""Stage S0: which plugins are installed, from entry-point metadata alone.

No plugin is imported here, and nothing heavier than :mod:`importlib.metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution
from typing import Any, NamedTuple

from sagellm_core.contract.version import ENTRY_POINT_GROUP_PREFIX, SUPPORTED_MAJORS

from .controls import Controls
from .gates import group_gate, group_major, requirement_gate
from .naming import name_problem
from .rejection import Rejection

_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
#: The same for every plugin, so that it is said once where several have it.
_NAME_IT = "Name it in SAGELLM_PLUGINS, or ask for the backend by name."


class PluginEntry(NamedTuple):
    """One plugin as its distribution's metadata announces it."""

    #: The backend name that users type.
    name: str
    #: The module that holds the hooks.
    module: str
    dist: str
    #: Version of the distribution.
    version: str
    #: Entry-point group, which carries the contract's major.
    group: str
    #: What ``Requires-Dist`` says about core, as written; empty when it says nothing.
    requires_core: str = ""
    #: The directory in which the distribution was found.
    location: str = ""
    #: Why it may not run; ``None`` when nothing in its metadata or the controls forbids it.
    rejection: Rejection | None = None

    @property
    def title(self) -> str:
        """The plugin with its distribution and version, for sentences."""
        return f"{self.name} ({self.dist} {self.version})"


def discover(controls: Controls, *, path: Sequence[str] | None = None) -> list[PluginEntry]:
    """List the installed plugins, those that may not run included, ordered by name.

    :param path: directories to look in, instead of ``sys.path``.
    :raises ConfigurationError: a control names a plugin that is not installed.
    """
    entries = [entry for found in _plugin_dists(path) for entry in _entries(found)]
    controls.check_names({entry.name for entry in entries})
    entries = _without_older_contracts(entries)
    twins = _duplicates(entries)
    judged = [
        entry._replace(rejection=_rejection(entry, controls, twins.get(entry.name, ())))
        for entry in entries
    ]
    return sorted(judged, key=lambda entry: entry[:5])


class _PluginDist(NamedTuple):
    name: str
    version: str
    requirements: list[str]
    location: str
    dist: Distribution
    #: The text could not be decoded, so no entry point can be read.
    problem: str = ""


def _plugin_dists(path: Sequence[str] | None) -> Iterator[_PluginDist]:
    where: dict[str, Any] = {} if path is None else {"path": list(path)}
    seen = set()
    for candidate in Distribution.discover(**where):
        if not _announces(candidate):
            continue
        name, _, _ = _headers(candidate)
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        if canonical in seen:
            continue
        seen.add(canonical)
        # A copy further up the path is the one that Python would import, even if that copy
        # announces no plugin.
        effective = candidate
        if name:
            effective = next(iter(Distribution.discover(name=name, **where)), candidate)
        yield _plugin_dist(effective)


def _announces(dist: Distribution) -> bool:
    try:
        text = dist.read_text("entry_points.txt")
    except UnicodeDecodeError as error:
        return ENTRY_POINT_GROUP_PREFIX.encode() in error.object
    return text is not None and ENTRY_POINT_GROUP_PREFIX in text


def _plugin_dist(dist: Distribution) -> _PluginDist:
    name, version, requirements = _headers(dist)
    location = str(dist.locate_file(""))
    problem = ""
    if not name or not version:
        problem = "its METADATA has no name and version"
    else:
        try:
            list(dist.entry_points)
        except UnicodeDecodeError:
            problem = "its entry_points.txt is not UTF-8"
        # importlib.metadata has no error of its own for lines it cannot take apart; what
        # surfaces differs between Python versions.
        except Exception as error:
            problem = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
    return _PluginDist(
        name or "(unnamed)", version or "(no version)", requirements, location, dist, problem
    )


def _headers(dist: Distribution) -> tuple[str, str, list[str]]:
    """Name, version and requirements, by reading the header lines of METADATA.

    The parser behind ``dist.metadata`` reads the long description as well and costs several
    milliseconds a distribution.
    """
    try:
        text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    except UnicodeDecodeError:
        text = ""
    name, version, requirements = "", "", []
    for line in text.splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if not colon or line[0].isspace():
            continue
        match key.lower():
            case "name":
                name = name or value.strip()
            case "version":
                version = version or value.strip()
            case "requires-dist":
                requirements.append(value.strip())
    return name, version, requirements


def _entries(found: _PluginDist) -> Iterator[PluginEntry]:
    if found.problem:
        yield PluginEntry(
            name=found.name,
            module="",
            dist=found.name,
            version=found.version,
            group="",
            location=found.location,
            rejection=Rejection(
                "bad_metadata",
                f"{found.name} {found.version} in {found.location} is damaged: {found.problem}.",
                f"Reinstall it: pip install --force-reinstall {found.name}",
            ),
        )
        return
    for point in found.dist.entry_points:
        if group_major(point.group) is None:
            continue
        entry = PluginEntry(
            name=point.name,
            module=point.value.strip(),
            dist=found.name,
            version=found.version,
            group=point.group,
            requires_core=_core_requirement(found.requirements),
            location=found.location,
        )
        yield entry._replace(rejection=_metadata_problem(entry, found.requirements))


def _core_requirement(requirements: Iterable[str]) -> str:
    ours = re.compile(r"sagellm[-_.]+core(?![A-Za-z0-9._-])", re.IGNORECASE)
    return "; ".join(each for each in requirements if ours.match(each))


def _metadata_problem(entry: PluginEntry, requirements: list[str]) -> Rejection | None:
    report = f"Report it to the maker of {entry.dist}."
    problem = name_problem(entry.name)
    if problem:
        return Rejection("bad_name", f"{entry.dist} {entry.version}: {problem}.", report)
    if not _MODULE.fullmatch(entry.module):
        return Rejection(
            "bad_metadata",
            f"{entry.title} registers {entry.module!r}, which is not the name of a module.",
            report,
        )
    major = group_major(entry.group)
    assert major is not None, "only groups with a major become entries"
    return group_gate(entry.title, entry.dist, major) or requirement_gate(
        entry.title, entry.dist, requirements
    )


def _without_older_contracts(entries: list[PluginEntry]) -> list[PluginEntry]:
    """Of a plugin that one dist registers for several majors, keep the best that core runs."""
    best: dict[tuple[str, str], int] = {}
    for entry in entries:
        major = group_major(entry.group)
        if major in SUPPORTED_MAJORS:
            key = (entry.dist, entry.name)
            best[key] = max(best.get(key, 0), major)
    return [
        entry
        for entry in entries
        if best.get((entry.dist, entry.name), group_major(entry.group)) == group_major(entry.group)
    ]


def _duplicates(entries: list[PluginEntry]) -> dict[str, list[PluginEntry]]:
    by_name: dict[str, list[PluginEntry]] = {}
    for entry in entries:
        if group_major(entry.group) in SUPPORTED_MAJORS:
            by_name.setdefault(entry.name, []).append(entry)
    return {name: same for name, same in by_name.items() if len(same) > 1}


def _rejection(
    entry: PluginEntry, controls: Controls, twins: Sequence[PluginEntry]
) -> Rejection | None:
    if entry.name in controls.block:
        return Rejection(
            "blocked",
            f"{entry.title} is disabled by SAGELLM_DISABLE_PLUGINS or -p no:{entry.name}.",
            "To use it, take it out of SAGELLM_DISABLE_PLUGINS and leave -p no:NAME away.",
        )
    if twins and entry in twins:
        return _duplicate(entry.name, twins)
    if entry.rejection is not None:
        return entry.rejection
    if entry.name == controls.backend:
        return None
    if controls.allow is not None and entry.name not in controls.allow:
        return Rejection(
            "not_allowed",
            f"{entry.title} is not among SAGELLM_PLUGINS={','.join(controls.allow)}.",
            _NAME_IT,
        )
    if not controls.autoload and controls.allow is None:
        return Rejection(
            "not_allowed",
            f"{entry.title} is not loaded of itself: SAGELLM_PLUGIN_AUTOLOAD is off.",
            _NAME_IT,
        )
    return None


def _duplicate(name: str, twins: Sequence[PluginEntry]) -> Rejection:
    dists = sorted({f"{twin.dist} {twin.version}" for twin in twins})
    if len(dists) == 1:
        modules = " and ".join(sorted(twin.module for twin in twins))
        return Rejection(
            "duplicate",
            f"{dists[0]} registers the plugin {name!r} more than once: {modules}.",
            "Report it to its maker, or install another version.",
        )
    uninstall = " or ".join(sorted({f"pip uninstall {twin.dist}" for twin in twins}))
    return Rejection(
        "duplicate",
        f"The plugin name {name!r} is registered by {' and by '.join(dists)}.",
        f"Keep one of them: {uninstall}",
    )
