"""The kinds of values that facts are made of; a value that could not be had is :class:`Unknown`, and never a zero."""

from __future__ import annotations

from typing import Annotated

import msgspec

NOT_GIVEN = "not given"
NO_ANSWER = "no answer"
NO_SERVER = "cannot connect"


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """A missing fact. False, prints as "unknown"."""

    why: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "unknown"


Bytes = Annotated[int, msgspec.Meta(ge=-(2**60), le=2**60)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
