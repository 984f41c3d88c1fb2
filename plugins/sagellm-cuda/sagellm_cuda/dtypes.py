"""What a GPU computes in."""

from __future__ import annotations

#: From this compute capability on (Ampere) bfloat16 has instructions of its own.
BFLOAT16 = (8, 0)


def choose(asked: str, stored: str | None, capability: tuple[int, int]) -> tuple[str, str]:
    """The type to compute in, and a sentence for the user where it is not what was asked for.

    Left to us, it is bfloat16, or float16 on GPUs without it and where the weights are stored in
    it. float32 is for who asks: it takes twice the memory and several times the time.

    :param asked: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
    :param stored: what the weights are stored in, if that is one of these.
    """
    can = capability >= BFLOAT16
    if asked == "auto":
        if stored == "float16" or not can:
            return "float16", _stored_note(stored, capability)
        return "bfloat16", ""
    if asked == "bfloat16" and not can:
        return "float16", (
            f"bfloat16 was asked for; this GPU (compute capability {_dotted(capability)}) has "
            f"none, so it computes in float16."
        )
    return asked, ""


def _stored_note(stored: str | None, capability: tuple[int, int]) -> str:
    if stored != "bfloat16":
        return ""
    return (
        f"The weights are bfloat16; this GPU (compute capability {_dotted(capability)}) has none, "
        "so it computes in float16, whose numbers end at 65,504."
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
