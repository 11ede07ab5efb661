"""What a mark says, as chips that survive errors: an id and its checksum, in a code that is read by soft decisions."""

import binascii
from functools import cache

import numpy as np
from jaxtyping import Float, Int8

ID_BITS = 48
CHECK_BITS = 16
_MEMORY = 6
# The code of rate 1/2 and constraint length 7 that deep space made standard (CCSDS 131.0-B, generators 171 and 133).
_GENERATORS = (0o171, 0o133)
_STATES = 1 << _MEMORY
NUM_CHIPS = 2 * (ID_BITS + CHECK_BITS + _MEMORY)


def encode(identity: int) -> Int8[np.ndarray, "chips"]:
    """The chips, +1 or -1, that stand for an id below 2 ** ID_BITS."""
    assert 0 <= identity < 1 << ID_BITS, identity
    message = (identity << CHECK_BITS) | _checksum(identity)
    bits = [message >> place & 1 for place in reversed(range(ID_BITS + CHECK_BITS))] + [0] * _MEMORY
    state, chips = 0, []
    for bit in bits:
        register = bit << _MEMORY | state
        chips += [_parity(register & generator) for generator in _GENERATORS]
        state = register >> 1
    return np.array([1 - 2 * chip for chip in chips], np.int8)


def decode(chips: Float[np.ndarray, "chips"]) -> int | None:
    """The id whose chips are nearest to what was received, any real numbers; None when its checksum says otherwise."""
    message = _most_likely(chips.reshape(-1, 2))
    identity, check = message >> CHECK_BITS, message & ((1 << CHECK_BITS) - 1)
    return identity if check == _checksum(identity) else None


def _checksum(identity: int) -> int:
    return binascii.crc_hqx(identity.to_bytes(ID_BITS // 8, "big"), 0xFFFF)


def _parity(value: int) -> int:
    return value.bit_count() & 1


@cache
def _trellis() -> tuple[np.ndarray, np.ndarray]:
    """For each new state its two predecessors ``(states, 2)``, and the chips sent on the way ``(states, 2, 2)``."""
    new = np.arange(_STATES)
    before = np.stack([(new << 1 & _STATES - 1) | last for last in (0, 1)], axis=1)
    register = before | (new >> _MEMORY - 1)[:, None] << _MEMORY
    sent = np.array([[[1 - 2 * _parity(int(r) & g) for g in _GENERATORS] for r in pair] for pair in register])
    return before, sent.astype(np.float64)


def _most_likely(received: Float[np.ndarray, "n 2"]) -> int:
    """Viterbi's algorithm: the message, without its tail, whose chips correlate best with what was received."""
    before, sent = _trellis()
    score = np.full(_STATES, -np.inf)
    score[0] = 0.0
    choices = []
    for pair in received:
        candidates = score[before] + sent @ pair
        choice = candidates.argmax(axis=1)
        choices.append(choice)
        score = np.take_along_axis(candidates, choice[:, None], axis=1)[:, 0]
    state, message = 0, []
    for choice in reversed(choices):
        message.append(state >> _MEMORY - 1)
        state = int(before[state, choice[state]])
    bits = message[::-1][:-_MEMORY]
    return int("".join(map(str, bits)), 2)
