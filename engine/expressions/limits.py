"""What one expression may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class Limits:
    """The bounds of one template; reaching one is allowed, passing it is an error.

    Compared and hashed by identity, so that it can be part of a cache key at no cost.
    """

    source_bytes: int = 16_384
    """The UTF-8 length of a template. Text without any tag is no template and has no limit here."""
    nodes: int = 2_000
    """The nodes of its syntax tree."""
    depth: int = 50
    """How deep brackets, operators, filters and blocks stand inside each other."""
    steps: int = 50_000
    """The work of one evaluation: each node of the tree is a step, each turn of a loop its body's nodes, each item
    that a filter or a comparison looks at is one, and so are 256 characters of text that are read."""
    output_bytes: int = 1_048_576
    """The UTF-8 length of the text written by one evaluation, and, counted apart, of all that its operators and
    filters build on the way."""
    int_bits: int = 4_096
    """The size of an integer."""


LIMITS = Limits()
"""The limits of a deployment that set none."""
