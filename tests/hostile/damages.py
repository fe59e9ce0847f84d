"""Ways to damage the content of a file."""

import random


def _flipped(content, chance):
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 8))):
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _near_an_end(content, chance):
    """Changes a byte where formats have their headers."""
    near = min(300, len(content))
    at = chance.randrange(near)
    changed = bytearray(content)
    changed[at if chance.random() < 0.5 else len(content) - 1 - at] = chance.randrange(256)
    return bytes(changed)


def _truncated(content, chance):
    return content[: chance.randrange(len(content))]


def _zeroed(content, chance):
    return _replaced(content, chance, bytes)


def _overwritten(content, chance):
    return _replaced(content, chance, chance.randbytes)


def _replaced(content, chance, filling):
    length = min(len(content), chance.choice((16, 512, 4096)))
    at = chance.randrange(len(content) - length + 1)
    return content[:at] + filling(length) + content[at + length :]


def _lengthened(content, chance):
    return content + chance.randbytes(chance.choice((1, 100)))


def _without_a_part(content, chance):
    at = chance.randrange(len(content))
    return content[:at] + content[at + chance.choice((1, 4, 512)) :]


_KINDS = {
    "flipped bits": _flipped,
    "changed near an end": _near_an_end,
    "truncated": _truncated,
    "zeroed block": _zeroed,
    "overwritten block": _overwritten,
    "lengthened": _lengthened,
    "without a part": _without_a_part,
}


def damaged(content: bytes, other: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Damages a content by chance.

    Args:
        content: bytes of a file.
        other: bytes of another file, which may take its place.
        chance: a `random.Random`.

    Returns:
        What was done, and other bytes than `content`.
    """
    rare = chance.random()
    if rare < 0.03:
        return "emptied", b""
    if rare < 0.06 and other != content:
        return "swapped", other
    while True:
        kind = chance.choice([*_KINDS])
        changed = _KINDS[kind](content, chance)
        if changed != content:
            return kind, changed
