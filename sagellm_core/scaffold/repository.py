"""The files of a vendor's repository, made from templates."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from packaging.version import Version

from sagellm_core import __version__
from sagellm_core.contract import CONTRACT_VERSION, ConfigurationError, DeviceClass

from .name import PluginName

#: What a provider may be built on: the kit for torch devices, or nothing.
KITS: Final = ("torch", "none")

#: The kit that this core was released with.
KIT_RANGE: Final = ">=0.1,<0.2"

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_LONGEST_VENDOR = 60

_PACKAGE = "@PACKAGE@"
#: Path in the repository to the template it is made from.
_SHARED: Final = {
    ".github/workflows/test.yml": "shared/test.yml.in",
    ".gitignore": "shared/gitignore.in",
    "CHANGELOG.md": "shared/CHANGELOG.md.in",
    "pyproject.toml": "shared/pyproject.toml.in",
    "tox.ini": "shared/tox.ini.in",
    f"{_PACKAGE}/__init__.py": "shared/__init__.py.in",
    f"{_PACKAGE}/devices.py": "shared/devices.py.in",
    f"{_PACKAGE}/py.typed": "shared/py.typed.in",
    "tests/conformance-xfails.txt": "shared/conformance-xfails.txt.in",
    "tests/test_conformance.py": "shared/test_conformance.py.in",
    "tests/test_devices.py": "shared/test_devices.py.in",
}
_OF_KIT: Final = {
    "torch": {
        "README.md": "torch/README.md.in",
        f"{_PACKAGE}/adapter.py": "torch/adapter.py.in",
        f"{_PACKAGE}/plugin.py": "torch/plugin.py.in",
    },
    "none": {
        "README.md": "plain/README.md.in",
        f"{_PACKAGE}/model.py": "plain/model.py.in",
        f"{_PACKAGE}/plugin.py": "plain/plugin.py.in",
        f"{_PACKAGE}/runner.py": "plain/runner.py.in",
        f"{_PACKAGE}/sampler.py": "plain/sampler.py.in",
        f"{_PACKAGE}/tokenizer.py": "plain/tokenizer.py.in",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What a new repository is to be.

    :raises ConfigurationError: the vendor's name cannot stand on one line, or is too long.
    """

    name: PluginName
    #: Who makes the device, for people to read.
    vendor: str
    #: One of :data:`KITS`.
    kit: str = "torch"
    #: What the device is. The plugin says ``simulated`` until it computes there.
    device_class: DeviceClass = DeviceClass.ACCELERATOR
    #: Version of core; its range begins there.
    core_version: str = __version__

    def __post_init__(self) -> None:
        if not self.vendor.strip() or not self.vendor.isprintable():
            raise ConfigurationError(
                f"The vendor {self.vendor!r} is not a line of text.",
                hint="Pass the maker's name, as in --vendor 'Example Inc.'.",
            )
        if len(self.vendor) > _LONGEST_VENDOR:
            raise ConfigurationError(
                f"The vendor's name has {len(self.vendor)} characters; at most "
                f"{_LONGEST_VENDOR} fit.",
                hint="Shorten it; it can be changed in plugin.py later.",
            )

    @property
    def core_range(self) -> str:
        """The versions of core that the plugin runs on: up to the next one that may break it.

        Core keeps to semantic versioning (https://semver.org): before 1.0 a minor may break.
        """
        version = Version(self.core_version)
        end = f"{version.major + 1}" if version.major else f"0.{version.minor + 1}"
        return f">={self.core_version},<{end}"

    def texts(self) -> dict[PurePosixPath, str]:
        """Path, relative to the repository, to content."""
        values = self._values()
        templates = files(__package__) / "templates"
        made = {}
        for path, template in (_SHARED | _OF_KIT[self.kit]).items():
            text = templates.joinpath(*template.split("/")).read_text(encoding="utf-8")
            made[PurePosixPath(_filled(path, values))] = _filled(text, values)
        return dict(sorted(made.items()))

    def _values(self) -> dict[str, str]:
        name = self.name
        needs = [f'    "sagellm-core{self.core_range}",\n']
        proven = ["generate", "logprobs"]
        if self.kit == "torch":
            needs.append(f'    "sagellm-torch{KIT_RANGE}",\n')
            proven.append("embed")
        else:
            proven.append("any_model")
        return {
            "BACKEND": name.backend,
            "CAPABILITIES": ", ".join(f'"{each}"' for each in sorted(proven)),
            "CLASS": name.class_prefix,
            "CONTRACT": CONTRACT_VERSION,
            "CORE_RANGE": self.core_range,
            "CORE_VERSION": self.core_version,
            "DEPENDENCIES": "".join(needs),
            "DEVICE_CLASS": self._device_class_comment(),
            "DIST": name.dist,
            "NODE": name.node,
            "PACKAGE": name.package,
            "VARIABLE": name.variable,
            "VENDOR": self.vendor,
            "VENDOR_LITERAL": _literal(self.vendor),
        }

    def _device_class_comment(self) -> str:
        if self.device_class is DeviceClass.SIMULATED:
            return "#: `auto` never picks it: it runs when it is asked for by name."
        real = f"DeviceClass.{self.device_class.name}"
        return (
            "#: `auto` never picks a simulated device.\n"
            f"#: REPLACE: {real}, once the plugin computes on yours."
        )


def _literal(text: str) -> str:
    """Printable text as Python writes it, in the quotes that formatters want."""
    # A JSON string is one of Python's too.
    return repr(text) if '"' in text else json.dumps(text, ensure_ascii=False)


def _filled(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
