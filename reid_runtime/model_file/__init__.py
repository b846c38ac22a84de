"""What a model file says of itself: format, contract, self-test record, digests."""

from reid_runtime.model_file.file import ModelFile

__all__ = ["ModelFile"]
