import json

import pytest
import structlog

from rendezvous import logs


def test_a_line_is_one_object_with_bytes_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A token handed to the log by mistake shows as its length."""
    try:
        logs.configure("json")
        log = structlog.get_logger()
        log.debug("node.connected")
        log.info("node.started", token=b"secret", port=1)
    finally:
        structlog.reset_defaults()

    (line,) = capsys.readouterr().err.splitlines()
    values = json.loads(line)
    assert (values["event"], values["token"], values["port"]) == ("node.started", "<6 bytes>", 1)


def test_a_person_reads_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """With everything that happens, if so asked."""
    try:
        logs.configure("console", debug=True)
        structlog.get_logger().debug("node.connected")
    finally:
        structlog.reset_defaults()

    assert "node.connected" in capsys.readouterr().err
