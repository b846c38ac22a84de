"""Shards: a set of images split by a hash of their ids, the same on every machine."""

import hashlib
from dataclasses import dataclass

from reid_runtime.errors import OptionsError


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count` parts of a set of images, which are disjoint and together the set.

    Raises:
        OptionsError: Unless 1 <= number <= count.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise OptionsError(f"expected a shard i/n with 1 <= i <= n, found {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that `i/n` names; raises OptionsError."""
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise OptionsError(f"expected a shard i/n, as 1/4 to 4/4, found {text!r}")
        return cls(int(number), int(count))

    def holds(self, name: str) -> bool:
        """Whether the image with this id is in this part: by the id alone, the same on every machine.

        The first 8 bytes of the id's SHA-256, as a big-endian number, modulo `count`, are `number` - 1.
        """
        start = hashlib.sha256(name.encode()).digest()[:8]
        return int.from_bytes(start, "big") % self.count == self.number - 1
