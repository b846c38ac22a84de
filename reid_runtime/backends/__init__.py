"""The engines that run a model, behind one Protocol; `registry` names the devices."""

from reid_runtime.backends.base import Backend, Options
from reid_runtime.backends.registry import (
    DEVICES,
    REGISTRY,
    devices_for,
    open_backend,
    open_server,
    parse_device,
    require_device,
)

__all__ = [
    "DEVICES",
    "REGISTRY",
    "Backend",
    "Options",
    "devices_for",
    "open_backend",
    "open_server",
    "parse_device",
    "require_device",
]
