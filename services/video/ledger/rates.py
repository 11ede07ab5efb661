"""How much a key may use in a time: a meter that fills with use and runs out evenly. Pure arithmetic, time injected."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Charge:
    """Use of something that is rationed: ``amount`` of the ``limit`` that one ``period_s`` grants."""

    unit: str
    amount: float
    limit: float
    period_s: float


@dataclass(frozen=True, slots=True)
class Meter:
    """What was used and has not run out since ``counted_at`` (Unix seconds)."""

    used: float
    counted_at: float


class OverRate(Exception):
    """The charge doesn't fit now; it will after ``retry_after_s``, and never when that is None."""

    def __init__(self, charge: Charge, retry_after_s: float | None) -> None:
        super().__init__(charge.unit)
        self.charge = charge
        self.retry_after_s = retry_after_s


def spend(meter: Meter, charge: Charge, now: float) -> Meter:
    """The meter after the charge; OverRate when it doesn't fit, and then nothing is used."""
    per_s = charge.limit / charge.period_s
    left_over = max(0.0, meter.used - per_s * max(0.0, now - meter.counted_at))
    used = left_over + charge.amount
    if charge.amount > charge.limit:
        raise OverRate(charge, None)
    if used > charge.limit:
        raise OverRate(charge, (used - charge.limit) / per_s)
    return Meter(used, now)
