"""The errors that a caller may want to distinguish. A message says the reason, what was expected, what to do."""


class ReidRuntimeError(Exception):
    """Root of every error that this project raises on purpose."""


class ImageError(ReidRuntimeError):
    """One image cannot be used; the rest of a batch can."""


class ContractError(ReidRuntimeError):
    """A model's contract is missing, damaged, of another version, or contradicts the model or another file."""


class BackendError(ReidRuntimeError):
    """A model cannot be run here: a missing package or device, or a session that failed."""


class DamagedFileError(BackendError):
    """A model file is not what was written: truncated, altered, or no model file at all."""


class MissingBackendError(BackendError):
    """A package or device that a backend needs is not on this machine; the message says how to get it."""


class DatasetError(ReidRuntimeError):
    """A folder is not the data set, or not the layout, that it was said to be."""


class StorageError(ReidRuntimeError):
    """A file of embeddings cannot be read or written."""


class OptionsError(ReidRuntimeError):
    """Options of a call contradict each other, or mean nothing."""
