"""What goes wrong with rendered people."""

from reid_runtime.errors import ReidRuntimeError


class PeopleError(ReidRuntimeError):
    """The assets are missing or damaged, or the rasteriser cannot be built."""
