"""Guards: what stops a run at once, and what raises an alarm in words while it goes on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from visual_echoes.errors import EchoesError

WINDOW = 100  # steps that the running medians look back
YOUNGEST = 20  # steps before a median says anything
LOSS_SPIKE = 10.0  # typical deviations from the median
LEAST_DEVIATION = 0.05  # of the median, so that a very steady loss does not alarm at every wobble
NORM_SPIKE = 10.0  # times the median
WINNING = 0.1  # of the loss of a discriminator that cannot tell real from made (hinge loss: 1)
DISCRIMINATOR_LOSS = "loss/discriminator"


def check_finite(what: str, value: float, step: int, items: Callable[[], Sequence[int]], last_good: int | None) -> None:
    """Stop before the weights, and then a checkpoint, take over what is not a number.

    Args:
        what: what the value is, for instance "loss of 'model'".
        value: a loss or a gradient norm.
        step: the step, counted from 0.
        items: returns the indices of the batch's items in the training split.
        last_good: step of the last checkpoint; None if there is none yet.

    Raises:
        EchoesError: the value is infinite or not a number.
    """
    if not math.isfinite(value):
        kept = "no checkpoint was written yet" if last_good is None else f"the last good checkpoint is step {last_good}"
        raise EchoesError(
            f"The {what} is {value} at step {step}, whose batch drew the training items "
            f"{', '.join(map(str, items()))}; {kept}. Lower learning_rate or clip_norm, set precision to fp32, or look "
            "at these items."
        )


class Watch:
    """Running medians of losses and gradient norms; says in words when a value leaves them."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._quiet_until: dict[str, int] = {}

    def observe(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Take in the losses and gradient norms of a step; returns alarms, each kind at most once a window."""
        alarms: dict[str, str] = {}
        for key, value in metrics.items():
            kind, _, name = key.partition("/")
            if kind not in ("loss", "gradient_norm"):
                continue
            recent = self._recent.setdefault(key, deque(maxlen=WINDOW))
            if len(recent) >= YOUNGEST:
                middle = median(recent)
                if value > (_highest_loss(recent) if kind == "loss" else NORM_SPIKE * middle):
                    what = "loss" if kind == "loss" else "gradient norm"
                    alarms[key] = f"the {what} of {name} jumped to {value:.4g} from a median of {middle:.4g}"
            recent.append(value)
        losses = self._recent.get(DISCRIMINATOR_LOSS, ())
        if len(losses) == WINDOW and DISCRIMINATOR_LOSS in metrics and median(losses) < WINNING:
            alarms["winning"] = (
                f"the discriminator wins (its median loss is {median(losses):.3g}, 1 would be a draw); lower its "
                "weight or let it join later"
            )
        loud = [key for key in alarms if step >= self._quiet_until.get(key, 0)]
        self._quiet_until |= dict.fromkeys(loud, step + WINDOW)
        return [alarms[key] for key in loud]

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep, as JSON."""
        return {"recent": {key: list(values) for key, values in self._recent.items()}, "quiet": self._quiet_until}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._recent = {key: deque(values, maxlen=WINDOW) for key, values in state["recent"].items()}
        self._quiet_until = dict(state["quiet"])


def _highest_loss(recent: Sequence[float] | deque[float]) -> float:
    """What a loss may reach without being a spike: the median and some typical deviations."""
    middle = median(recent)
    deviation = median(abs(value - middle) for value in recent)
    return middle + LOSS_SPIKE * max(deviation, LEAST_DEVIATION * abs(middle))
