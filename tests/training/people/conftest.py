"""The cache of the rasteriser for these tests, and the assets where the development data have them."""

import shutil
import tarfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    if not shutil.which("cc"):
        pytest.skip("no C compiler")


@pytest.fixture(scope="session")
def people3d(reid_data, tmp_path_factory):
    """The assets, unpacked."""
    archive = reid_data / "people3d.tar.gz"
    if not archive.is_file():
        pytest.skip("no people3d.tar.gz among the development data")
    folder = tmp_path_factory.mktemp("assets")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "people3d"
