"""How data sets lie on disk: one module a layout, each of which only reads names and lists, never pixels."""

from reid_runtime.scoring.layouts.crops import Crops, CropSplits
from reid_runtime.scoring.layouts.market1501 import read_market

__all__ = ["CropSplits", "Crops", "read_market"]
