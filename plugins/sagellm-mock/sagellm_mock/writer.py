"""What the mock answers: the next token as a pure function of the tokens before it.

A few sentences of a small grammar, and now and then a character of four bytes, so that whoever
decodes the stream meets one. ``blake2b`` makes every choice: the same everywhere, for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import exp, log

from sagellm_core.contract import SamplingParams, TokenLogprobs

from . import vocabulary, words
from .script import Script
from .vocabulary import END, bare, spaced

_FIRST_OPENERS = bare(words.OPENERS)
_OPENERS = spaced(words.OPENERS)
_DETERMINERS = spaced(words.DETERMINERS)
_ADJECTIVES = spaced(words.ADJECTIVES)
_NOUNS = spaced(words.NOUNS)
_VERBS = spaced(words.VERBS)
_ADVERBS = spaced(words.ADVERBS)
_PREPOSITIONS = spaced(words.PREPOSITIONS)
_STOP = ord(".")
_SPARK = tuple(" \N{SPARKLES}\N{SMILING FACE WITH OPEN MOUTH}".encode())

#: Which words may come after a word of a group.
_KIND = {
    **dict.fromkeys(_PREPOSITIONS, "preposition"),
    **dict.fromkeys(_ADVERBS, "adverb"),
    **dict.fromkeys(_VERBS, "verb"),
    **dict.fromkeys(_ADJECTIVES, "adjective"),
    **dict.fromkeys(_NOUNS, "noun"),
    **dict.fromkeys(_DETERMINERS + _OPENERS + _FIRST_OPENERS, "determiner"),
}

#: An answer is so many tokens long, and then to the end of its sentence.
_SHORTEST, _LONGEST = 8, 48
#: A sentence ends at the next chance after so many tokens.
_SENTENCE = 12
#: Made-up logits: the choice, the first alternative, the step between alternatives; 0 for
#: every other token.
_CHOICE, _SECOND, _STEP = 9.0, 6.0, 0.125
_ALTERNATIVES = 24


@dataclass(frozen=True, slots=True)
class NextToken:
    """A token, and its log-probabilities where asked for."""

    token_id: int
    logprobs: TokenLogprobs | None


class Writer:
    """Writes answers.

    :param script: answers that take the place of made-up ones.
    """

    def __init__(self, script: Script) -> None:
        self._script = script

    def next_token(
        self, tokens: Sequence[int], prompt_len: int, sampling: SamplingParams
    ) -> NextToken:
        """The token after ``tokens``, whose first ``prompt_len`` are the prompt.

        A seed matters when the temperature is above 0, as with a real model; ``top_k``,
        ``top_p``, ``min_p`` and penalties do not matter.
        """
        prompt, output = tokens[:prompt_len], tokens[prompt_len:]
        salt = b"" if sampling.greedy else str(sampling.seed).encode()
        choice = self._scripted(prompt, output, ignore_eos=sampling.ignore_eos)
        draw = _digest(tokens, salt)
        if choice is None:
            choice = _written(prompt, output, salt, draw, ignore_eos=sampling.ignore_eos)
        if not sampling.logit_bias and sampling.logprobs is None:
            return NextToken(choice, None)
        logits = _logits(choice, draw)
        chosen = _biased(logits, sampling.logit_bias)
        wanted = sampling.logprobs
        return NextToken(chosen, None if wanted is None else _logprobs(logits, chosen, wanted))

    def _scripted(
        self, prompt: Sequence[int], output: Sequence[int], *, ignore_eos: bool
    ) -> int | None:
        reply = self._script.reply(prompt)
        if reply is None:
            return None
        if len(output) < len(reply):
            return reply[len(output)]
        if not ignore_eos:
            return END
        return reply[len(output) % len(reply)] if reply else None


def _digest(tokens: Sequence[int], salt: bytes) -> int:
    # Fixed width and byte order, so that every machine agrees.
    packed = struct.pack(f"<{len(tokens)}I", *tokens)
    state = blake2b(packed, digest_size=8, person=b"sagellm-mock", key=salt)
    return int.from_bytes(state.digest(), "little")


def _pick(group: Sequence[int], draw: int) -> int:
    return group[draw % len(group)]


def _written(
    prompt: Sequence[int], output: Sequence[int], salt: bytes, draw: int, *, ignore_eos: bool
) -> int:
    if not output:
        return _pick(_FIRST_OPENERS, draw)
    last = output[-1]
    spark = _unfinished_spark(output)
    if spark is not None:
        return spark
    length = _SHORTEST + _digest(prompt, salt + b"length") % (_LONGEST - _SHORTEST + 1)
    late = len(output) >= length and not ignore_eos
    if last in (_STOP, _SPARK[-1]):
        if late:
            return END
        if last == _STOP and draw % 11 == 0:
            return _SPARK[0]
        return _pick(_OPENERS, draw >> 8)
    return _next_word(last, output, draw, late=late)


def _unfinished_spark(output: Sequence[int]) -> int | None:
    # A lone space can only be ours: words bring their own.
    for written in range(len(_SPARK) - 1, 0, -1):
        if tuple(output[-written:]) == _SPARK[:written]:
            return _SPARK[written]
    return None


def _next_word(last: int, output: Sequence[int], draw: int, *, late: bool) -> int:
    fork, pick = draw % 8, draw >> 8
    kind = _KIND.get(last)
    if kind == "determiner":
        return _pick(_ADJECTIVES if fork < 3 else _NOUNS, pick)
    if kind == "adjective":
        return _pick(_NOUNS, pick)
    if kind == "preposition":
        return _pick(_DETERMINERS, pick)
    if kind == "verb":
        return _pick(_DETERMINERS, pick)
    sentence = _sentence(output)
    if not any(_KIND.get(token) == "verb" for token in sentence):
        # Also the way on from words and bytes that a bias or a prompt's prefix forced in.
        return _pick(_PREPOSITIONS if fork == 0 and not late else _VERBS, pick)
    if late or len(sentence) >= _SENTENCE or fork < 2:
        return _STOP
    if kind == "noun" and fork < 4:
        return _pick(_ADVERBS, pick)
    return _pick(_PREPOSITIONS, pick)


def _sentence(output: Sequence[int]) -> Sequence[int]:
    # Sentences are short; one that a bias made endless is not searched to its beginning.
    start = max(0, len(output) - 4 * _SENTENCE)
    for position in range(len(output) - 1, start - 1, -1):
        if output[position] == _STOP:
            return output[position + 1 :]
    return output[start:]


def _logits(choice: int, draw: int) -> dict[int, float]:
    logits = {choice: _CHOICE}
    token = draw
    value = _SECOND
    while len(logits) <= _ALTERNATIVES:
        token = (token + 1 + (draw >> 16) % 251) % vocabulary.SIZE
        if token not in logits:
            logits[token] = value
            value -= _STEP
        else:
            token += 1
    return logits


def _biased(logits: Mapping[int, float], bias: Mapping[int, float]) -> int:
    scores = dict(logits)
    for token, amount in bias.items():
        scores[token] = scores.get(token, 0.0) + amount
    # A token with no logit of its own scores 0: the lowest such id, where all are below.
    best = max(scores, key=lambda token: (scores[token], -token))
    if scores[best] < 0.0:
        return next(token for token in range(vocabulary.SIZE) if token not in scores)
    return best


def _logprobs(logits: Mapping[int, float], chosen: int, wanted: int) -> TokenLogprobs:
    rest = vocabulary.SIZE - len(logits)
    total = log(sum(exp(value) for value in logits.values()) + rest)
    ranked = sorted(logits, key=lambda token: (-logits[token], token))[:wanted]
    return TokenLogprobs(
        token_id=chosen,
        logprob=logits.get(chosen, 0.0) - total,
        top=tuple((token, logits[token] - total) for token in ranked),
    )
