from __future__ import annotations

import pickle

import pytest

from sagellm_core.contract import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_errors_survive_pickling_with_their_hint(cls: type[errors.SageLLMError]) -> None:
    copy = pickle.loads(pickle.dumps(cls("It broke.", hint="Mend it.")))
    assert type(copy) is cls
    assert (copy.message, copy.hint, str(copy)) == (
        "It broke.",
        "Mend it.",
        "It broke. Hint: Mend it.",
    )


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)


def test_every_class_of_the_module_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes == set(errors.__all__) | {
        name for name in classes if name in ("Any", "ClassVar")
    }


def test_to_dict_has_what_a_program_needs() -> None:
    assert errors.OverloadedError("Full.", hint="Later.").to_dict() == {
        "type": "OverloadedError",
        "code": "overloaded",
        "message": "Full.",
        "hint": "Later.",
        "retryable": True,
    }


def test_errors_are_the_builtin_that_fits_too() -> None:
    with pytest.raises(TimeoutError):
        raise errors.RequestTimeoutError("Late.")
    with pytest.raises(ValueError, match="Empty"):
        raise errors.EmptyPromptError("Empty.")
