"""Neither core nor the kit knows a vendor: no name of one stands in their sources."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "core": ROOT / "sagellm_core",
    "the kit": ROOT / "plugins/sagellm-torch/sagellm_torch",
}
#: Vendors, their libraries and devices, as parts of a name or a sentence.
VENDOR = re.compile(
    r"(?<![a-z])(nvidia|nvml|cuda|cudnn|cublas|nccl|huawei|ascend|cann|npu|torch_npu|davinci|"
    r"hygon|dcu|dtk|rocm|hip|hipify|amd|intel|xpu|gaudi|habana|mthreads|musa|cambricon|mlu)"
    r"(?![a-z])",
    re.IGNORECASE,
)
#: What users of other libraries type, and core has to read: (file, line without white space).
OTHERS_WORDS = {
    # The default that SAGE's constructor has, in its own words.
    ("sagellm_core/config/schema.py", "cuda"),
    # A parameter of vLLM's, accepted and without effect.
    ("sagellm_core/compat/vllm/arguments.py", "cuda_graph_sizes"),
}


def words(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, vendor's name and the token around it: names, strings and comments alike."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(io.BytesIO(file.read()).readline))
    for token in tokens:
        for found in VENDOR.finditer(token.string.replace("_", " ")):
            yield token.start[0], found.group(), token.string.strip("\"'")


@pytest.mark.parametrize("floor", SOURCES)
def test_no_vendor_is_named(floor: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} in {token[:60]!r}"
        for path in sorted(SOURCES[floor].rglob("*.py"))
        for line, name, token in words(path)
        if (path.relative_to(ROOT).as_posix(), token) not in OTHERS_WORDS
    ]
    assert found == []


def test_names_are_found(tmp_path: Path) -> None:
    path = tmp_path / "seen.py"
    path.write_text(
        'if device == "cuda":\n    my_npu_rank = 1  # for Hygon\nascending = cannot = 2\n'
    )
    assert [name for _, name, _ in words(path)] == ["cuda", "npu", "Hygon"]
