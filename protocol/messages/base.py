"""What every message is: a frozen value, named by its tag, bounded by its declaration."""

from typing import Any, dataclass_transform

import msgspec


class _KeywordOnly(msgspec.StructMeta):
    """Passes ``kw_only`` on to subclasses; msgspec passes on every other option by itself."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> Any:
        options.setdefault("kw_only", True)
        return super().__new__(mcs, name, bases, namespace, **options)


# Tells the type checker what the metaclass does at run time.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Message(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, kw_only=True, tag_field="type"):
    """One message on the wire: a MessagePack map whose ``type`` key names the class.

    Subclasses give their ``tag`` (``class Ready(Message, tag="session.ready")``) and are
    frozen and keyword-only like this one. Keys a receiver does not know are ignored; types
    it does not know are an error.
    """


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, kw_only=True):
    """A part of a message: frozen and keyword-only like it, without a name on the wire."""
