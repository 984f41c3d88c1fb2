"""Whether tokens are right, given how exactly a device computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagellm_core.contract.model import LoadedModel

from .drive import Course
from .finding import fail, require
from .reference.tolerance import tolerance_of
from .tiny.model import TinyModel


class Judge:
    """Holds what a runner sampled to the reference, and to what it sampled in another way.

    :param tiny: the model that ran.
    :param loaded: says what it computed in.
    """

    def __init__(self, tiny: TinyModel, loaded: LoadedModel) -> None:
        self._tiny = tiny
        self.tolerance = tolerance_of(loaded.dtype, loaded.quantization)
        self._precision = f"{loaded.dtype}, quantization {loaded.quantization}"
        #: Whether two ways to compute one thing must choose the same tokens.
        self.exact = not tiny.has_reference or self.tolerance.exact

    def check_greedy(self, course: Course) -> None:
        """Every token is the reference's own choice, or as good within the tolerance.

        The reference follows the tokens that were sampled, so that one near tie does not decide
        about all that comes after it.
        """
        output = tuple(course.tokens)
        steps = self._tiny.steps(course.prompt, output, course.sampling)
        for number, (token, logits) in enumerate(zip(output, steps, strict=True)):
            best = int(np.argmax(logits))
            regret = float((logits[best] - logits[token]) / logits.std())
            if regret > self.tolerance.regret:
                fail(
                    f"Token {number} of the output is {token}, and the reference says {best}: its "
                    f"logit is {regret:.3g} standard deviations higher; at most "
                    f"{self.tolerance.regret:g} are allowed in {self._precision}. The prompt has "
                    f"{len(course.prompt)} tokens."
                )

    def check_logprobs(self, course: Course) -> None:
        """The log-probability of every token is the reference's, within the tolerance."""
        rows = self._tiny.logprobs(course.prompt, tuple(course.tokens))
        for number, (given, row) in enumerate(zip(course.logprobs, rows, strict=True)):
            require(given is not None, f"Token {number} came without log-probabilities.")
            assert given is not None
            pairs = ((given.token_id, given.logprob), *given.top)
            for token, logprob in pairs:
                expected = float(row[token])
                if not abs(logprob - expected) <= self.tolerance.logprob:
                    fail(
                        f"Token {number} of the output: the log-probability of {token} is "
                        f"{logprob:.5g}, and the reference says {expected:.5g}; a difference of "
                        f"{self.tolerance.logprob:g} is allowed in {self._precision}."
                    )

    def check_same(self, expected: Course, found: Course, how: str) -> None:
        """Two ways to compute one sequence gave the same.

        They may part at a tie within the tolerance; what comes after that is not compared.

        :param how: what was different about ``found``, for the sentence.
        """
        for number, (wanted, token) in enumerate(zip(expected.tokens, found.tokens, strict=True)):
            if wanted != token:
                context = tuple(expected.tokens[: number + 1])
                if not self._tiny.has_reference or not self._is_tie(expected, context, token):
                    fail(
                        f"{how}: token {number} of the output is {token} in place of {wanted}. "
                        f"The prompt has {len(expected.prompt)} tokens."
                    )
                return
            self._check_same_logprob(expected, found, number, how)

    def _is_tie(self, course: Course, output: tuple[int, ...], other: int) -> bool:
        """Whether the last token of ``output`` and ``other`` are about as good."""
        logits = self._tiny.steps(course.prompt, output, course.sampling)[-1]
        worse = min(logits[output[-1]], logits[other])
        return bool((logits.max() - worse) / logits.std() <= self.tolerance.regret)

    def _check_same_logprob(self, expected: Course, found: Course, number: int, how: str) -> None:
        wanted, given = expected.logprobs[number], found.logprobs[number]
        if wanted is None or given is None:
            return
        limit = self.tolerance.logprob if self._tiny.has_reference else 1e-6
        if not abs(wanted.logprob - given.logprob) <= limit:
            fail(
                f"{how}: the log-probability of token {number} of the output is "
                f"{given.logprob:.6g} in place of {wanted.logprob:.6g}."
            )


def share_of_equals(first: Sequence[int], second: Sequence[int]) -> float:
    """How many of two lists' entries are equal, place by place, from 0 to 1."""
    pairs = list(zip(first, second, strict=True))
    return sum(one == other for one, other in pairs) / len(pairs)
