"""The loaded native library."""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_void_p
from pathlib import Path
from threading import Lock

from .structures import DECODER_STRUCTURES, ENCODER_STRUCTURES, WeightStructure

#: What ``sagellm_interface`` says of a library that this code can call.
INTERFACE = 3

_FUNCTIONS = {
    "sagellm_interface": (c_int32, ()),
    "sagellm_instructions": (c_char_p, ()),
    "sagellm_pool_create": (c_void_p, (c_int32, c_void_p, c_int32)),
    "sagellm_pool_destroy": (None, (c_void_p,)),
    "sagellm_packed_data_bytes": (c_int64, (c_int32, c_int64, c_int64, c_int64)),
    "sagellm_packed_scale_count": (c_int64, (c_int32, c_int64, c_int64, c_int64)),
    "sagellm_pack": (None, (c_int32, c_int32, *[c_int64] * 5, *[c_void_p] * 6)),
    "sagellm_unpack_rows": (None, (POINTER(WeightStructure), c_void_p, c_int64, c_void_p)),
    "sagellm_linear": (
        c_int32,
        (
            c_void_p,
            POINTER(WeightStructure),
            c_void_p,
            c_int64,
            c_int64,
            c_void_p,
            c_int64,
            c_int32,
        ),
    ),
    "sagellm_decoder_layout": (None, (c_void_p,)),
    "sagellm_decoder_create": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "sagellm_decoder_step": (c_int32, (c_void_p, c_void_p, c_void_p)),
    "sagellm_decoder_destroy": (None, (c_void_p,)),
    "sagellm_encoder_layout": (None, (c_void_p,)),
    "sagellm_encoder_create": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "sagellm_encoder_pass": (c_int32, (c_void_p, c_void_p, c_void_p)),
    "sagellm_encoder_release": (None, (c_void_p,)),
    "sagellm_encoder_destroy": (None, (c_void_p,)),
}


class LibraryError(Exception):
    """A file is not a library that this code can call; the message says why."""


class ThreadError(LibraryError):
    """The threads that compute cannot be started, whatever the library."""


class NativeLibrary:
    """The functions of a compiled library, with their types declared.

    :raises LibraryError: the file cannot be loaded, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        #: The file.
        self.path = path
        try:
            self.c = ctypes.CDLL(str(path))
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(self.c, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise LibraryError(f"{path} cannot be loaded: {error}") from error
        version = self.c.sagellm_interface()
        if version != INTERFACE:
            raise LibraryError(f"{path} has interface {version}, not {INTERFACE}")
        for structures, layout in (
            (DECODER_STRUCTURES, self.c.sagellm_decoder_layout),
            (ENCODER_STRUCTURES, self.c.sagellm_encoder_layout),
        ):
            sizes = (c_int64 * len(structures))()
            layout(sizes)
            own = [ctypes.sizeof(structure) for structure in structures]
            if list(sizes) != own:
                raise LibraryError(f"{path} has structures of {list(sizes)} bytes, not {own}")
        #: The instructions that it was compiled for, as ``avx512-vnni`` or ``avx512-vnni-amx``.
        self.instructions: str = self.c.sagellm_instructions().decode()
        self._pools: dict[int, NativePool] = {}
        self._lock = Lock()

    @property
    def multiplies_matrices(self) -> bool:
        """Whether it has instructions for whole matrices of bytes: ``src/matrix_unit.h``."""
        return self.instructions.endswith(("-amx", "-i8mm"))

    def pool(self, threads: int) -> NativePool:
        """The threads that compute, at least 1: one pool for each number of them.

        :raises ThreadError: the threads cannot be started.
        """
        with self._lock:
            if threads not in self._pools:
                self._pools[threads] = NativePool(self, threads)
            return self._pools[threads]


class NativePool:
    """A number of threads, the caller of each function among them."""

    def __init__(self, library: NativeLibrary, threads: int) -> None:
        cpus = _processors()
        # Each on a processor of its own only where there are no others: else several programs
        # would choose the same ones.
        bound = cpus if len(cpus) == threads > 1 else []
        numbers = (c_int32 * len(bound))(*bound)
        handle = library.c.sagellm_pool_create(threads, numbers if bound else None, len(bound))
        if handle is None:
            raise ThreadError(f"{threads} threads could not be started")
        self.library = library
        self.threads = threads
        #: Address of the library's ``Pool``.
        self.handle: int = handle
        # Not at the end of the process: then its workers may be gone already.
        weakref.finalize(self, library.c.sagellm_pool_destroy, handle).atexit = False


def _processors() -> list[int]:
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity masks
        return []
