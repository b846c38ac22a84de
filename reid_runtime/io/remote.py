"""Object stores and whatever else fsspec reaches by a URL, `s3://bucket/folder`: by the extra s3."""

from typing import Any

from reid_runtime.errors import StorageError
from reid_runtime.install import install_line


def is_url(name: str) -> bool:
    """Whether a name is a URL, and not a path on this machine's disks."""
    return "://" in name


def open_remote(url: str) -> tuple[Any, str]:
    """(fsspec's file system, the path in it) of a URL; raises StorageError.

    Credentials and endpoints are those of the file system's own client: for S3 `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`
    and the like.
    """
    try:
        import fsspec
    except ImportError as error:
        raise StorageError(f"{url} needs fsspec: {install_line('s3')}") from error
    try:
        # A cached listing does not show what others have written since.
        filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise StorageError(f"{url} cannot be reached: {error}; for s3://, {install_line('s3')}") from error
    except Exception as error:  # every file system has errors of its own
        raise StorageError(f"{url} cannot be reached: {error}") from error
    return filesystem, path.rstrip("/")
