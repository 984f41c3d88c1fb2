"""``python -m sagellm_torch.testing DIRECTORY``: the provider ``sim``, for a path of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sagellm_core.contract import ConfigurationError

from .installation import install_plugin


def main(arguments: list[str] | None = None) -> int:
    """Write the provider's metadata, and say how to use it."""
    parser = argparse.ArgumentParser(
        prog="python -m sagellm_torch.testing",
        description="Make the simulated device known to sagellm as the provider 'sim', wherever "
        "DIRECTORY is on Python's path.",
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    directory: Path = parser.parse_args(arguments).directory
    try:
        written = install_plugin(directory)
    except (ConfigurationError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {written}.")
    print(f"Use it: PYTHONPATH={directory.resolve()} sagellm run --backend sim ...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
