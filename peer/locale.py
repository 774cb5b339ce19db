"""Every text people read, in their language; all of them stand in ``peer/locales``.

A catalogue is a flat JSON object: key to text. A text names values in braces, optionally with a
form: ``{bytes:size}``, ``{seconds:clock}``, ``{count:number}``. Where the wording depends on a
number the entry is an object ``{"by": value, "one": text, "other": text}``.
"""

import functools
import importlib.resources
import json
import string
from collections.abc import Mapping
from typing import Any, Final, Literal

Language = Literal["en", "fr"]

LANGUAGES: Final[tuple[Language, ...]] = ("en", "fr")

UNKNOWN: Final = "?"
"""Stands for a value a text names but nobody gave."""

_STEP: Final = 1024
"""Bytes per KiB and so on: sizes are shown in the units file managers use."""


class _Formatter(string.Formatter):
    """Fills texts: unknown values become a question mark, and three forms are known."""

    def __init__(self, catalogue: "Catalogue") -> None:
        self._catalogue = catalogue

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:  # noqa: ARG002  # inherited
        return kwargs.get(key, UNKNOWN) if isinstance(key, str) else UNKNOWN

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:  # noqa: ARG002  # inherited
        # Plain names only: a text reaches into no object, and takes no value by position.
        return self.get_value(field_name, (), kwargs), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if not isinstance(value, int | float):
            return str(value)
        if format_spec == "size":
            return self._catalogue.size(int(value))
        if format_spec == "clock":
            return clock(value)
        if format_spec == "number":
            return self._catalogue.number(value)
        return str(value)


class Catalogue:
    """The texts of one language.

    Attributes:
        language: Which one.
        texts: The entries by key.
    """

    def __init__(self, language: Language, texts: Mapping[str, str | dict[str, str]]) -> None:
        self.language = language
        self.texts = texts
        self._formatter = _Formatter(self)

    def text(self, key: str, /, **values: object) -> str:
        """Return the text of *key* filled with *values*; an unknown key is shown as it is."""
        entry = self.texts.get(key, key)
        if isinstance(entry, dict):
            count = values.get(entry["by"], 0)
            entry = entry["one" if self._is_one(count) else "other"]
        elif key not in self.texts:
            return key
        return self._formatter.vformat(entry, (), values)

    def error(self, code: str, params: Mapping[str, object]) -> str:
        """Return the text of the error *code*; one that has none yet shows its code."""
        if (phase := f"phase.{params.get('phase')}") in self.texts:
            params = {**params, "phase": self.text(phase)}
        for key in (f"error.{code}.{params.get('problem')}", f"error.{code}"):
            if key in self.texts:
                return self.text(key, **params)
        return self.text("error.unknown", code=code)

    def hint(self, code: str, params: Mapping[str, object]) -> str:
        """Return what to do about the error *code*; empty if there is nothing to say.

        A hint whose value is empty says nothing either.
        """
        key = f"hint.{code}"
        entry = self.texts.get(key, "")
        named = {name for _, name, _, _ in self._formatter.parse(str(entry)) if name}
        if not entry or any(params.get(name) == "" for name in named):
            return ""
        return self.text(key, **params)

    def number(self, value: float) -> str:
        """Return *value* with its thousands set apart."""
        plain = f"{value:,}"
        if self.language == "fr":
            return plain.translate({ord(","): "\N{NARROW NO-BREAK SPACE}", ord("."): ","})
        return plain

    def size(self, count: int) -> str:
        """Return *count* bytes with a unit that keeps the number short."""
        units = self.text("units.bytes").split()
        amount, unit = float(count), 0
        while amount >= _STEP and unit < len(units) - 1:
            amount /= _STEP
            unit += 1
        digits = str(count) if unit == 0 else f"{amount:.1f}"
        if self.language == "fr":
            digits = digits.replace(".", ",")
        return f"{digits} {units[unit]}"

    def _is_one(self, count: object) -> bool:
        if not isinstance(count, int | float):
            return False
        # In French nothing and one take the singular.
        return abs(count) < 2 if self.language == "fr" else count == 1  # noqa: PLR2004  # the grammar


def clock(seconds: float) -> str:
    """Return *seconds* as ``0:30`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@functools.cache
def catalogue(language: Language) -> Catalogue:
    """Return the texts of *language*."""
    source = importlib.resources.files("peer").joinpath("locales", f"{language}.json")
    return Catalogue(language, json.loads(source.read_text(encoding="utf-8")))


def choose(setting: str, environ: Mapping[str, str]) -> Language:
    """Return the language of *setting*, or for ``auto`` that of the system."""
    wanted = setting
    if setting == "auto":
        names = ("LC_ALL", "LC_MESSAGES", "LANG")
        wanted = next((environ[name] for name in names if environ.get(name)), "en")
    return "fr" if wanted.lower().startswith("fr") else "en"
