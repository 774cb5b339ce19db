"""Presets: the first answers to "What should happen?", each just a list of rules."""

import enum
from typing import Final, assert_never

from peer.comparison.compared import Compared, Field, Operator, Side
from peer.plan.actions import Copy, Create, Remove
from peer.plan.conditions import Missing
from peer.plan.rules import AppliesTo, Rule

FILES, DIRECTORIES = AppliesTo


class Preset(enum.StrEnum):
    """The presets of product.md, section 7.1."""

    COMBINE = "combine"
    """Make all the same: everything everywhere, newest wins, nothing deleted."""
    MIRROR = "mirror"
    """All others become equal to one member; what it lacks is deleted there."""
    UPDATE = "update"
    """Missing or older files come from one member; nothing deleted."""
    FILL_GAPS = "fill-gaps"
    """Only what is missing is created."""
    CONSOLIDATE = "consolidate"
    """One member receives what it lacks; the others stay as they are."""


ABOUT_ONE: Final = frozenset({Preset.MIRROR, Preset.UPDATE, Preset.CONSOLIDATE})
"""Presets that need a member to be about."""

DELETING: Final = frozenset({Preset.MIRROR})
"""Presets that delete."""

BY_DATE: Final = frozenset({Preset.COMBINE, Preset.UPDATE, Preset.FILL_GAPS, Preset.CONSOLIDATE})
"""Presets that trust dates: warn about clocks and dates in the future before they are used."""

_MISSING: Final = Missing()


def rules_of(preset: Preset, member: int | None = None) -> tuple[Rule, ...]:
    """Return the rules that *preset* is.

    Args:
        preset: Which one.
        member: Index of the member it is about, for those in ``ABOUT_ONE``.

    Raises:
        ValueError: If it needs a member and got none, or the other way round.
    """
    if (preset in ABOUT_ONE) is (member is None):
        raise ValueError(f"{preset} {'needs' if member is None else 'takes no'} member")
    match preset:
        case Preset.MIRROR:
            # What the member lacks goes; whatever is blocked there is neither missing nor to
            # be had, and the copies say so.
            absent = Missing(member=member)
            return (
                Rule(applies_to=FILES, conditions=(absent,), actions=(Remove(),)),
                Rule(applies_to=DIRECTORIES, conditions=(absent,), actions=(Remove(),)),
                Rule(applies_to=FILES, actions=(Copy(origin=member, replacing=True),)),
                Rule(applies_to=DIRECTORIES, actions=(Create(origin=member, replacing=True),)),
            )
        case Preset.UPDATE:
            newer = Compared(
                field=Field.DATE,
                left=Side(member=member),
                operator=Operator.GREATER,
                right=Side(),
            )
            return (
                Rule(
                    applies_to=FILES,
                    every=False,
                    conditions=(_MISSING, newer),
                    actions=(Copy(origin=member),),
                ),
                Rule(
                    applies_to=DIRECTORIES,
                    conditions=(_MISSING,),
                    actions=(Create(origin=member),),
                ),
            )
        case Preset.COMBINE:
            return (
                Rule(applies_to=FILES, actions=(Copy(),)),
                Rule(applies_to=DIRECTORIES, actions=(Create(),)),
            )
        case Preset.FILL_GAPS | Preset.CONSOLIDATE:
            to = () if member is None else (member,)
            return (
                Rule(applies_to=FILES, conditions=(_MISSING,), actions=(Copy(to=to),)),
                Rule(applies_to=DIRECTORIES, conditions=(_MISSING,), actions=(Create(to=to),)),
            )
        case _:
            assert_never(preset)
