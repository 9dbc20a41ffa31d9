"""The model that a declared function takes: the annotation of its first parameter."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel


def model_of(declared: Callable[..., object]) -> type[BaseModel]:
    """Return the pydantic model of the first parameter, also when annotations are strings. Raises `TypeError`."""
    annotation = next(iter(declared.__annotations__.values()), None)
    if isinstance(annotation, str):
        annotation = declared.__globals__.get(annotation)
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        message = f"{declared.__qualname__}: annotate the first parameter with its config, a pydantic model."
        raise TypeError(message)
    return annotation
