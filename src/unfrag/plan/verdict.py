"""Does it fit? Answered with the range of the estimate, and with what the asker left open."""

from __future__ import annotations

import msgspec

from unfrag.units import size

HIGHEST_UTILIZATION = 0.98  # above it, start-ups are known to die of what other things on the card take


class Room(msgspec.Struct, frozen=True):
    """Bytes for the KV cache on one rank: what is likely, and between which bounds it may end up.

    ``spare``: what ``HIGHEST_UTILIZATION`` would add, where nobody fixed the utilisation; else 0.
    """

    likely: int
    least: int
    most: int
    whole: int
    weights: int
    spare: int = 0


def judge(room: Room | None, need: int | None, length: int | None, tuned: bool) -> tuple[bool | None, str]:
    """(fits, why): True by the likely budget, False when nothing in reach changes it, None when it hangs on the rest.

    Args:
        room: None when the weights are not known.
        need: bytes of one request of full length; None when what a token costs is not known.
        length: tokens of that request.
        tuned: the asker fixed the context and left the utilisation open, so any utilisation may be meant.
    """
    if room is None:
        return None, "the configuration lacks sizes that the weights depend on; give the whole config.json"
    wanted = max(need or 0, 1)
    reach = room.most + room.spare if tuned else (room.likely + room.most) // 2
    if room.likely <= 0 and reach < wanted:
        whole = f"the {size(room.whole)} that vLLM may take"
        return False, f"weights of {size(room.weights)} and the rest leave nothing for the KV cache of {whole}"
    if need is None or length is None:
        if room.likely <= 0:
            return None, f"weights of {size(room.weights)} leave hardly anything of {size(room.whole)}"
        return None, f"weights fit with {size(room.likely)} to spare; what a token costs or the context is not known"
    there = f"about {size(max(0, room.likely))} are there ({size(max(0, room.least))} to {size(max(0, room.most))})"
    said = f"one request of {length:,} tokens needs {size(need)} of KV, and {there}"
    if room.likely >= need:
        risk = "; the range reaches below it: lower --max-model-len to be safe" if room.least < need else ""
        return True, said + risk
    if reach >= need:
        how = f"; with --gpu-memory-utilization up to {HIGHEST_UTILIZATION} it may" if tuned else "; too close to say"
        return None, said + how
    return False, said
