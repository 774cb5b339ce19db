"""Strategies read off the declarations: a new message is covered unasked."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from protocol.codec import members_of
from protocol.messages.rendezvous import IPV4_BYTES, IPV6_BYTES, Address

SIXTY_FOUR_BITS = 2**64 - 1
NORMAL_LENGTH = 12
"""Elements drawn where the declaration would admit more: bounds far off are tested on their own."""

ADDRESSES = st.builds(
    Address,
    host=st.binary(min_size=IPV4_BYTES, max_size=IPV4_BYTES)
    | st.binary(min_size=IPV6_BYTES, max_size=IPV6_BYTES),
    port=st.integers(1, 65_535),
)

_SPECIAL: dict[type, st.SearchStrategy[Any]] = {Address: ADDRESSES}
"""Types whose bounds are in ``__post_init__`` rather than in their fields."""


def messages(union: Any) -> st.SearchStrategy[Any]:
    """Any message of *union*, within its declared bounds."""
    return st.one_of([values(kind) for kind in members_of(union)])


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of the type *kind* as msgspec understands it."""
    return _strategy(inspect.type_info(kind))


def special(kind: type, strategy: st.SearchStrategy[Any]) -> None:
    """Draw *kind* from *strategy* wherever a declaration names it."""
    _SPECIAL[kind] = strategy


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    if isinstance(info, inspect.Metadata):
        return _strategy(info.type)
    if isinstance(info, inspect.UnionType):
        return st.one_of([_strategy(each) for each in info.types])
    return _STRATEGIES[type(info)](info)


def _size(info: Any) -> dict[str, Any]:
    least = info.min_length or 0
    most = least + NORMAL_LENGTH
    return {
        "min_size": least,
        "max_size": most if info.max_length is None else min(most, info.max_length),
    }


def _struct(info: Any) -> st.SearchStrategy[Any]:
    if info.cls in _SPECIAL:
        return _SPECIAL[info.cls]
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in info.fields:
        (required if field.required else optional)[field.name] = _strategy(field.type)
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: info.cls(**fields))


def _int(info: Any) -> st.SearchStrategy[int]:
    least = info.ge if info.ge is not None else -(2**63) if info.gt is None else info.gt + 1
    most = info.le if info.le is not None else SIXTY_FOUR_BITS if info.lt is None else info.lt - 1
    return st.integers(least, most)


def _str(info: Any) -> st.SearchStrategy[str]:
    if info.pattern is not None:
        return st.from_regex(info.pattern)
    return st.text(st.characters(exclude_categories=["Cs"]), **_size(info))


def _array(collection: Callable[[list[Any]], Any]) -> Callable[[Any], st.SearchStrategy[Any]]:
    return lambda info: st.lists(_strategy(info.item_type), **_size(info)).map(collection)


_STRATEGIES: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    inspect.NoneType: lambda _: st.none(),
    inspect.BoolType: lambda _: st.booleans(),
    inspect.IntType: _int,
    inspect.FloatType: lambda info: st.floats(
        min_value=info.ge, max_value=info.le, allow_nan=False, allow_infinity=False
    ),
    inspect.StrType: _str,
    inspect.BytesType: lambda info: st.binary(**_size(info)),
    inspect.LiteralType: lambda info: st.sampled_from(info.values),
    inspect.EnumType: lambda info: st.sampled_from(list(info.cls)),
    inspect.StructType: _struct,
    inspect.ListType: _array(list),
    inspect.VarTupleType: _array(tuple),
    inspect.FrozenSetType: _array(frozenset),
    inspect.TupleType: lambda info: st.tuples(*[_strategy(each) for each in info.item_types]),
    inspect.DictType: lambda info: st.dictionaries(
        _strategy(info.key_type), _strategy(info.value_type), **_size(info)
    ),
    inspect.RawType: lambda _: st.just(msgspec.Raw(b"\xc0")),
}
