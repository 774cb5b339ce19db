"""The browser all tests of this folder share: starting one takes a second."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """A running Chromium."""
    with chromium() as started:
        yield started
