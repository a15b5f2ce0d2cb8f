"""What an op is, whatever it is called and wherever it stands: its type and attributes, as one value."""

from __future__ import annotations

from typing import Any

_ITS_OWN = ("name", "input", "device", "experimental_debug_info")
_IGNORED_ATTRIBUTES = ("_output_shapes", "_class", "_XlaHasReferenceVars", "container", "shared_name")


def definition(op: Any, *, but: str | None = None) -> bytes:
    """A value that is equal for ops of equal type and attributes; the attribute `but`, if one is named, may differ."""
    node = op.node_def
    for field in _ITS_OWN:
        node.ClearField(field)
    attributes = node.attr
    for attribute in (*_IGNORED_ATTRIBUTES, *([but] if but else ())):
        if attribute in attributes:
            del attributes[attribute]
    found: bytes = node.SerializeToString(deterministic=True)
    return found
