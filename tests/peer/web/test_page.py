"""The files of the page: all vendored ones are what they say, none leads elsewhere."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from peer.locale import LANGUAGES, catalogue
from peer.web import guard
from peer.web.page import paths

STATIC = Path(__file__).parents[3] / "peer" / "web" / "static"
VENDORED = [STATIC / "vendor", Path(__file__).parents[2] / "browser" / "vendor"]
MAX_LINES = 500
SCRIPTS = sorted((STATIC / "js").glob("*.js"))


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.parent.name)
def test_vendored_files_match_their_manifest(folder: Path) -> None:
    """Every file is listed with its origin and licence, and is byte for byte that file."""
    listed = json.loads((folder / "manifest.json").read_text())
    licences = (folder / "LICENSES.txt").read_text()

    present = {path.name for path in folder.iterdir()} - {"manifest.json", "LICENSES.txt"}
    assert {entry["file"] for entry in listed} == present
    for entry in listed:
        digest = hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["file"]
        title = f"== {entry['package']} {entry['version']} ({entry['licence']}) =="
        assert title in licences
        assert "://" not in json.dumps(entry)


def test_the_only_script_within_the_page_is_the_map_the_policy_names() -> None:
    """Its digest stands in the policy; nothing else may run from within the page."""
    page = (STATIC / "index.html").read_text()
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", page, re.DOTALL)

    (imports,) = inline

    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == guard.IMPORT_MAP
    for target in json.loads(imports)["imports"].values():
        assert target in paths()


def test_the_page_names_no_other_host() -> None:
    """It works without a network: no address of anywhere in what we wrote."""
    ours = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"]
    found = {
        (path.name, match)
        for path in ours
        for match in re.findall(r"(?:https?|wss?):[/]{2}[^\s\"'`]+", path.read_text())
    }

    # The namespace of a drawing is a name, not an address; the WebSocket goes home.
    assert found == {
        ("icon.svg", "http://www.w3.org/2000/svg"),
        ("state.js", "ws://${host}/api/v1/events"),
    }


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_read_in_one_sitting_and_writes_no_markup(path: Path) -> None:
    """Names from other computers reach the page as text alone (T28)."""
    source = path.read_text()

    assert source.startswith("// "), "a module says what it is for"
    assert source.count("\n") <= MAX_LINES
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", source
    )


def test_every_import_leads_to_a_file() -> None:
    """A name that leads nowhere would leave the page empty."""
    bare = set(
        json.loads(
            re.findall(r"importmap\">(.*?)</script>", paths()["/"].read_text(), re.DOTALL)[0]
        )["imports"]
    )
    for path in SCRIPTS:
        for name in re.findall(r'from "([^"]+)"', path.read_text()):
            target = f"/js/{name.removeprefix('./')}" if name.startswith("./") else name
            assert target in paths() or target in bare, f"{path.name}: {name}"


KEY = re.compile(r'"((?:page|units)\.[a-z_]+(?:\.[a-z_]+)*)"')


def test_every_text_the_page_asks_for_exists() -> None:
    """An unknown key would be shown as it is."""
    wanted = {key for path in SCRIPTS for key in KEY.findall(path.read_text())}

    missing = {key for language in LANGUAGES for key in wanted - set(catalogue(language).texts)}

    assert len(wanted) > 100
    assert sorted(missing) == []
