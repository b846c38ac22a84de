"""Galleries: people, their crops and their vectors in one file that can forget them."""

from reid_runtime.gallery.add import Added, Refused
from reid_runtime.gallery.check import CheckResult
from reid_runtime.gallery.crops import CropImage
from reid_runtime.gallery.erase import Export, Forgotten
from reid_runtime.gallery.gallery import Gallery, Person
from reid_runtime.gallery.policy import AdmissionPolicy
from reid_runtime.gallery.upgrade import Upgraded

__all__ = [
    "AdmissionPolicy", "Added", "CheckResult", "CropImage", "Export", "Forgotten", "Gallery", "Person", "Refused",
    "Upgraded",
]  # fmt: skip
