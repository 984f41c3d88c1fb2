"""Decode steps that are recorded for each width and replayed, on a recorder that is an object."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch import DecodeStep
from sagellm_torch.recorded import RecordedDecode, widths
from sagellm_torch.step import SlotState

_SLOTS, _VOCAB = 24, 7


class _Model:
    """Logits that say which token, length and slot each row had; remembers what it was given."""

    def __init__(self) -> None:
        self.state = SlotState(
            last_tokens=torch.arange(_SLOTS) * 11, tables=torch.zeros(_SLOTS, 3), ropes=()
        )
        self.seen: list[list[list[int]]] = []

    def step(self, told: list[list[int]]) -> DecodeStep:
        return DecodeStep(
            told=torch.tensor(told),
            state=self.state,
            contexts=(),
            gather=lambda: pytest.fail("nothing is gathered"),
            max_blocks=0,
            run=None,
        )

    def rows(self, count: int, seed: int) -> DecodeStep:
        slots = torch.randperm(_SLOTS, generator=torch.Generator().manual_seed(seed))[:count]
        lengths = slots * 3 + seed + 1
        return self.step([slots.tolist(), lengths.tolist(), (lengths - 1).tolist()])

    def idle(self, count: int) -> DecodeStep:
        return self.step([[0] * count, [0] * count, [-1] * count])

    def forward(self, step: DecodeStep) -> torch.Tensor:
        self.seen.append(step.told.tolist())
        weight = torch.arange(1.0, _VOCAB + 1)
        return (step.tokens + 1000 * step.lengths)[:, None] * weight


@pytest.fixture
def model() -> _Model:
    return _Model()


def _recorded(model: _Model, recorder, told: list[str] | None = None) -> RecordedDecode:
    notes = [] if told is None else told
    return RecordedDecode(model.forward, model.idle, _SLOTS, recorder, notes.append)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, (1,)),
        (3, (1, 2, 3)),
        (8, (1, 2, 4, 8)),
        (16, (1, 2, 4, 8, 16)),
        (30, (1, 2, 4, 8, 16, 24, 30)),
    ],
)
def test_widths(most, expected) -> None:
    assert widths(most) == expected


def test_widths_of_many_slots() -> None:
    chosen = widths(256)
    assert chosen[:8] == (1, 2, 4, 8, 16, 24, 32, 40)
    assert chosen[-1] == 256
    assert len(chosen) == 35


def test_the_same_logits_as_without(model, replaying_recorder) -> None:
    recorder = replaying_recorder()
    decode = _recorded(model, recorder)
    # Wider, narrower, the same, and every width in between: what a step leaves behind must not
    # show in the next one.
    for seed, count in enumerate([5, 24, 3, 4, 1, 2, 7, 8, 5, 17, 9, 24, 1]):
        step = model.rows(count, seed)
        assert torch.equal(decode(step), model.forward(model.rows(count, seed)))
    assert decode.recorded == (1, 2, 4, 8, 16, 24)
    assert recorder.replayed == 13


def test_rows_past_the_step_are_for_nothing(model, replaying_recorder) -> None:
    decode = _recorded(model, replaying_recorder())
    decode(model.rows(8, 0))
    decode(model.rows(5, 1))
    slots, lengths, places = model.seen[-1]
    assert (len(slots), slots[5:], lengths[5:], places[5:]) == (8, [0] * 3, [0] * 3, [-1] * 3)


def test_recording_writes_nothing(model, replaying_recorder) -> None:
    decode = _recorded(model, replaying_recorder())
    decode(model.rows(3, 0))
    # The runs before the recording are of rows for nothing; the replay has the step's.
    recording, replay = model.seen
    assert recording == [[0] * 4, [0] * 4, [-1] * 4]
    assert replay[2] != [-1] * 4


def test_where_steps_cannot_be_recorded_they_are_computed(model, replaying_recorder) -> None:
    trouble = RuntimeError("operation not permitted when stream is capturing\nmore")
    recorder, notes = replaying_recorder(trouble=trouble), []
    decode = _recorded(model, recorder, notes)
    for seed in range(3):
        assert torch.equal(decode(model.rows(3, seed)), model.forward(model.rows(3, seed)))
    assert decode.recorded == ()
    # One note, and no second try.
    assert notes == [
        "Decode steps are not recorded, and start more slowly: "
        "operation not permitted when stream is capturing"
    ]


def test_an_error_that_is_no_trouble_of_recording_passes(model, replaying_recorder) -> None:
    recorder = replaying_recorder(trouble=KeyError("a defect"))
    with pytest.raises(KeyError):
        _recorded(model, recorder)(model.rows(3, 0))


def test_without_room_a_wider_recording_serves_or_none(model, replaying_recorder) -> None:
    recorder = replaying_recorder(left=2)
    decode = _recorded(model, recorder)
    decode(model.rows(8, 0))
    decode(model.rows(24, 1))
    assert not recorder.room
    for count, replays in ((13, 1), (4, 1), (3, 1), (1, 0)):
        before = recorder.replayed
        step = model.rows(count, 2)
        assert torch.equal(decode(step), model.forward(model.rows(count, 2)))
        assert recorder.replayed - before == replays, count
    assert decode.recorded == (8, 24)
