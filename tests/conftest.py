"""What every test may use: golden files, the flag that renews them, and what is skipped on which machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# TensorFlow reads it when it is imported, so it cannot wait for a fixture.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The commands turn it off for the processes after them, and numbers of two processes are compared bit by bit.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

GOLDEN = Path(__file__).resolve().parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a whole output with the file of that name under tests/golden, or write the file."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--renew-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8"))
        assert path.is_file(), f"no golden file {name}: run pytest --renew-golden, and read what it wrote"
        assert text == path.read_bytes().decode("utf-8"), f"{name} differs: pytest --renew-golden writes it anew"

    return compare


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _sees_gpu():
        pytest.skip("TensorFlow sees no GPU")
    if item.get_closest_marker("browser") and not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("there is no Chromium to open a page in")


def _sees_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
