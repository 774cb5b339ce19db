"""The files of the page and its texts: what a browser may load before it has a token.

Every path is known from the start, so that a name from a request never reaches the disk.
"""

import importlib.resources
import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

from peer.locale import LANGUAGES, catalogue

KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
"""Content types of what the folder may hold; another file there is not served."""

TEXTS: Final = "/texts/{language}.json"


def paths() -> dict[str, Traversable]:
    """Return every file of the page by its path; ``/`` is the page itself."""
    root = importlib.resources.files("peer.web").joinpath("static")
    return {"/" if path == "/index.html" else path: file for path, file in _below(root, "")}


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{path}/{entry.name}")
        elif _kind(entry.name):
            yield f"{path}/{entry.name}", entry


def _kind(name: str) -> str | None:
    return KINDS.get("." + name.rpartition(".")[2])


class Page:
    """Answers with the page's files, read anew each time: they are small and may be edited."""

    def __init__(self) -> None:
        self._files = paths()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add one route per file and language."""
        for path in sorted(self._files):
            router.add_get(path, self._file)
        for language in LANGUAGES:
            router.add_get(TEXTS.format(language=language), self._texts)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = self._files[request.path]
        return web.Response(
            body=file.read_bytes(), content_type=_kind(file.name) or "", charset="utf-8"
        )

    async def _texts(self, request: web.Request) -> web.StreamResponse:
        language = next(each for each in LANGUAGES if request.path == TEXTS.format(language=each))
        body = json.dumps(catalogue(language).texts, ensure_ascii=False).encode()
        return web.Response(body=body, content_type="application/json", charset="utf-8")
