"""Randomness by counter: what is drawn depends on a key, never on what was drawn before.

So the number of workers, a restart in mid-epoch and the machine don't change a run.
Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox).
"""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on `key` alone.

    Args:
        key: what the draw belongs to, for example `("crop", seed, epoch, index)`. A numpy integer counts as the same
            plain one.
    Returns:
        A fresh generator; the same key gives the same numbers on every machine.
    """
    plain = tuple(part if isinstance(part, str) else int(part) for part in key)
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
