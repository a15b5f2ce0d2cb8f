"""Which elements of its inputs an op makes each element of its outputs from, where that is static."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradaudit.flow.values import ELEMENTWISE, Value
from gradaudit.graph.parts import LARGEST_AXIS, Axis, ByAxis, OfComponents, Reshaped, Selection, everything, same

_SAME = frozenset(
    {"Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "EnsureShape", "Snapshot", "Relu"}
    | {"Cast", "ZerosLike", "OnesLike", "DeepCopy", "TensorListResize"}
)
_REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Min", "Prod", "EuclideanNorm", "All", "Any"})
_KEEPS_ALL_BUT_LAST = frozenset({"Softmax", "LogSoftmax"})

_NARROWING = frozenset(
    {"Unpack", "Split", "SplitV", "StridedSlice", "Slice", "GatherV2", "TensorListGetItem", "TensorListGather"}
    | {"Real", "Imag"}
)
_COMPONENT_READ = {"Real": 0, "Cast": 0, "Imag": 1}
"""By ops that make real numbers of complex ones: which component they read."""
_COMPONENTWISE = frozenset(
    {"Identity", "IdentityN", "Snapshot", "EnsureShape", "CheckNumerics", "Cast", "Conj", "Neg", "Add", "AddV2", "AddN"}
    | {"Sub", "Sum", "Mean", "Select", "SelectV2", "Pack", "Unpack", "ConcatV2", "Split", "SplitV", "StridedSlice"}
    | {"Slice", "GatherV2", "Transpose", "ReverseV2", "Pad", "PadV2", "Tile", "BroadcastTo", "Reshape", "ExpandDims"}
    | {"Squeeze", "ConjugateTranspose", "Roll", "Cumsum", "ScatterNd", "MatrixBandPart", "MatrixDiagV3"}
    | {"MatrixDiagPartV3", "GatherNd", "SegmentSum", "UnsortedSegmentSum"}
)
"""Ops that make the real parts of complex numbers from real parts, and the imaginary parts from imaginary parts."""

_Maker = Callable[[Any, int, int, Sequence["Value | None"]], Selection]


def narrows(op: Any) -> bool:
    """Whether a whole result of `op` may be made from a part of an input."""
    return op.type in _NARROWING or op.type == "Cast" and _is_complex(op.inputs[0]) and not _is_complex(op.outputs[0])


def selection(op: Any, output: int, position: int, values: Sequence[Value | None]) -> Selection:
    """What of the input at `position` is behind a part of the output with index `output`.

    Args:
        op: the op.
        output: index of the output.
        position: index of the input.
        values: what is known of the values of all inputs.
    """
    made, read = op.outputs[output], op.inputs[position]
    elements = _selection_of_elements(op, output, position, values)
    if not _is_complex(made) and not _is_complex(read):
        return elements
    if made.shape.rank is None or read.shape.rank is None:
        return everything
    is_kept = op.type in _COMPONENTWISE and _is_complex(made) and _is_complex(read)
    is_kept = is_kept and (op.type != "IdentityN" or output == position)
    return OfComponents(
        elements,
        made.shape.rank,
        read.shape.rank,
        only=_component_made(op, position),
        reads="same" if is_kept else _COMPONENT_READ.get(op.type) if _is_complex(read) else None,
    )


def _is_complex(tensor: Any) -> bool:
    return bool(tensor.dtype.is_complex)


def _component_made(op: Any, position: int) -> int | None:
    """Which component of a complex result the real input at `position` is."""
    if op.type == "Complex":
        return position
    return 0 if op.type == "Cast" and not _is_complex(op.inputs[0]) else None


def _selection_of_elements(op: Any, output: int, position: int, values: Sequence[Value | None]) -> Selection:
    kind = op.type
    if kind in _SAME:
        return same if kind != "IdentityN" or output == position else everything
    if kind in ELEMENTWISE or kind == "BiasAdd":
        return _broadcast(op, output, position, values)
    maker = _MAKERS.get(kind)
    return everything if maker is None else maker(op, output, position, values)


def _rank(tensor: Any) -> int | None:
    rank: int | None = tensor.shape.rank
    return rank


def _lengths(tensor: Any) -> list[int | None]:
    return list(tensor.shape.as_list())


def _index(length: int | None, index: int) -> int | None:
    """An index counted from the front; None if it is counted from the end of an unknown length."""
    if index >= 0:
        return index
    return None if length is None else index + length


def _broadcast(op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    consumer, producer = op.outputs[0], op.inputs[position]
    if _rank(consumer) is None or _rank(producer) is None:
        return everything
    if op.type == "BiasAdd" and position == 1:
        return ByAxis((Axis(consumer.shape.rank - 1),)) if op.get_attr("data_format") == b"NHWC" else everything
    if op.type == "Select" and position == 0 and producer.shape.rank != consumer.shape.rank:
        return everything
    shift = consumer.shape.rank - producer.shape.rank
    axes = []
    for axis, (length, made) in enumerate(zip(_lengths(producer), _lengths(consumer)[shift:], strict=True)):
        # Where it is not known whether an axis of length one is repeated along the other, all of it counts.
        runs_along = length == made and (length is not None or _is_alone(op, position))
        axes.append(Axis(axis + shift) if runs_along else Axis())
    return ByAxis(tuple(axes))


def _is_alone(op: Any, position: int) -> bool:
    """Whether no other input could stretch the axes of the one at `position`."""
    return all(other == position or tensor.shape.rank == 0 for other, tensor in enumerate(op.inputs))


def _pack(op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    rank = _rank(op.outputs[0])
    if rank is None:
        return everything
    axis = op.get_attr("axis") % rank
    return ByAxis(tuple(Axis(other) for other in range(rank) if other != axis), only=(axis, position))


def _unpack(op: Any, output: int, _position: int, _values: Sequence[Value | None]) -> Selection:
    rank = _rank(op.inputs[0])
    if rank is None:
        return everything
    axis = op.get_attr("axis") % rank
    count = len(op.outputs)
    return ByAxis(
        tuple(
            Axis(None, (output,), count) if other == axis else Axis(other if other < axis else other - 1)
            for other in range(rank)
        )
    )


def _concat(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    rank, axis = _rank(op.outputs[0]), values[-1]
    if rank is None or axis is None or position == len(op.inputs) - 1:
        return everything
    along = int(axis) % rank
    lengths = [tensor.shape[along] for tensor in op.inputs[:-1]]
    if None in lengths or sum(lengths) > LARGEST_AXIS:
        return everything
    start = sum(lengths[:position])
    indices = [-1] * sum(lengths)
    indices[start : start + lengths[position]] = range(lengths[position])
    return _along(rank, along, Axis(along, tuple(indices), lengths[position]))


def _along(rank: int, axis: int, chosen: Axis) -> Selection:
    """The selection that is `chosen` along one axis and leaves the others as they are."""
    return ByAxis(tuple(chosen if other == axis else Axis(other) for other in range(rank)))


def _split(op: Any, output: int, position: int, values: Sequence[Value | None]) -> Selection:
    data, along = (op.inputs[1], values[0]) if op.type == "Split" else (op.inputs[0], values[2])
    rank = _rank(data)
    if rank is None or along is None or data is not op.inputs[position]:
        return everything
    axis = int(along) % rank
    lengths = [tensor.shape[axis] for tensor in op.outputs]
    if None in lengths or sum(lengths) > LARGEST_AXIS:
        return everything
    start = sum(lengths[:output])
    return _along(rank, axis, Axis(axis, tuple(range(start, start + lengths[output])), sum(lengths)))


def _strided_slice(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    data = op.inputs[0]
    if position != 0 or data.shape.rank is None or any(value is None for value in values[1:]):
        return everything
    begin, end, strides = (np.atleast_1d(value) for value in values[1:] if value is not None)
    count = op.inputs[1].shape.num_elements()
    if count is None:
        return everything
    begin, end, strides = (np.broadcast_to(value, (count,)) for value in (begin, end, strides))
    masks = {name: op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}

    def has(name: str, entry: int) -> bool:
        return bool(masks[name] >> entry & 1)

    lengths = _lengths(data)
    given = sum(1 for entry in range(count) if not has("ellipsis", entry) and not has("new_axis", entry))
    axes: list[Axis] = []
    made = 0
    for entry in range(count):
        if has("ellipsis", entry):
            for _ in range(len(lengths) - given):
                axes.append(Axis(made))
                made += 1
        elif has("new_axis", entry):
            made += 1
        elif has("shrink_axis", entry):
            axes.append(_taken(lengths[len(axes)], int(begin[entry])))
        else:
            first = None if has("begin", entry) else int(begin[entry])
            last = None if has("end", entry) else int(end[entry])
            axes.append(_sliced(made, lengths[len(axes)], slice(first, last, int(strides[entry]))))
            made += 1
    while len(axes) < len(lengths):
        axes.append(Axis(made))
        made += 1
    return ByAxis(tuple(axes))


def _taken(length: int | None, index: int) -> Axis:
    at = _index(length, index)
    return Axis() if at is None or at > LARGEST_AXIS else Axis(None, (at,), length)


def _sliced(made: int, length: int | None, part: slice) -> Axis:
    if part == slice(None, None, 1):
        return Axis(made)
    if length is None:
        is_from_the_front = part.start is not None and part.stop is not None and part.start >= 0 and part.step == 1
        is_short = is_from_the_front and part.start < part.stop <= LARGEST_AXIS
        return Axis(made, tuple(range(part.start, part.stop))) if is_short else Axis()
    return Axis() if length > LARGEST_AXIS else Axis(made, tuple(range(length)[part]), length)


def _slice(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    data, begin = op.inputs[0], values[1]
    lengths = _lengths(op.outputs[0]) if op.outputs[0].shape.rank is not None else [None]
    if position != 0 or begin is None or data.shape.rank is None or len(lengths) != data.shape.rank:
        return everything
    starts = np.broadcast_to(begin, (data.shape.rank,))
    axes = []
    for axis, (start, taken, length) in enumerate(zip(starts, lengths, _lengths(data), strict=True)):
        if taken is None or taken > LARGEST_AXIS:
            axes.append(Axis())
        else:
            axes.append(Axis(axis, tuple(range(int(start), int(start) + taken)), length))
    return ByAxis(tuple(axes))


def _gather(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    data, indices, along = op.inputs[0], values[1], values[2]
    rank, rank_of_indices = _rank(data), _rank(op.inputs[1])
    if position != 0 or indices is None or along is None or op.get_attr("batch_dims") or rank is None:
        return everything
    axis = int(along) % rank
    count = op.inputs[1].shape.num_elements()
    if rank_of_indices not in (0, 1) or count is None or count > LARGEST_AXIS:
        return everything
    length = data.shape[axis]
    found = tuple(int(index) for index in np.broadcast_to(indices, (count,)))
    chosen = Axis(axis if rank_of_indices else None, found, length)
    after = rank_of_indices - 1
    return ByAxis(
        tuple(chosen if other == axis else Axis(other if other < axis else other + after) for other in range(rank))
    )


def _transpose(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    order = values[1]
    if position != 0 or order is None or order.ndim == 0:
        return everything
    return ByAxis(tuple(Axis(int(np.flatnonzero(order == axis)[0])) for axis in range(len(order))))


def _reverse(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    rank, along = _rank(op.inputs[0]), values[1]
    if position != 0 or rank is None or along is None:
        return everything
    reversed_axes = {int(axis) % rank for axis in np.atleast_1d(along)}
    axes = []
    for axis, length in enumerate(_lengths(op.inputs[0])):
        if axis not in reversed_axes:
            axes.append(Axis(axis))
        elif length is None or length > LARGEST_AXIS:
            axes.append(Axis())
        else:
            axes.append(Axis(axis, tuple(reversed(range(length))), length))
    return ByAxis(tuple(axes))


def _pad(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    rank, paddings = _rank(op.inputs[0]), values[1]
    if position != 0 or rank is None or paddings is None:
        return everything
    axes = []
    for axis, (before, after) in enumerate(np.broadcast_to(paddings, (rank, 2))):
        length = op.inputs[0].shape[axis]
        if not before and not after:
            axes.append(Axis(axis))
        elif length is None or length > LARGEST_AXIS:
            axes.append(Axis())
        else:
            axes.append(Axis(axis, (*[-1] * int(before), *range(length), *[-1] * int(after)), length))
    return ByAxis(tuple(axes))


def _tile(op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    if position != 0 or op.inputs[0].shape.rank is None or op.outputs[0].shape.rank is None:
        return everything
    axes = []
    for axis, (length, made) in enumerate(zip(_lengths(op.inputs[0]), _lengths(op.outputs[0]), strict=True)):
        if length is not None and length == made:
            axes.append(Axis(axis))
        elif not length or made is None or made > LARGEST_AXIS:
            axes.append(Axis())
        else:
            axes.append(Axis(axis, tuple(index % length for index in range(made)), length))
    return ByAxis(tuple(axes))


def _reduced(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    rank, along = _rank(op.inputs[0]), values[1]
    if position != 0 or rank is None or along is None:
        return everything
    reduced = {int(axis) % rank for axis in np.atleast_1d(along)} if rank else set()
    if op.get_attr("keep_dims"):
        return ByAxis(tuple(Axis() if axis in reduced else Axis(axis) for axis in range(rank)))
    kept = [axis for axis in range(rank) if axis not in reduced]
    return ByAxis(tuple(Axis() if axis in reduced else Axis(kept.index(axis)) for axis in range(rank)))


def _all_but_last(op: Any, _output: int, _position: int, _values: Sequence[Value | None]) -> Selection:
    rank = _rank(op.inputs[0])
    return everything if not rank else ByAxis(tuple(Axis(axis) for axis in range(rank - 1)))


def _matmul(op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    rank, made = _rank(op.inputs[position]), _rank(op.outputs[0])
    if rank is None or rank != made or rank < 2:
        return everything
    names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    is_transposed = op.get_attr(names[position])
    summed = rank - 1 if (position == 0) != is_transposed else rank - 2
    own = rank - 2 if position == 0 else rank - 1
    axes = []
    for axis in range(rank):
        if axis == summed:
            axes.append(Axis())
        elif axis < rank - 2:
            alike = op.inputs[position].shape[axis] == op.outputs[0].shape[axis] is not None
            axes.append(Axis(axis) if alike else Axis())
        else:
            axes.append(Axis(own))
    return ByAxis(tuple(axes))


def _reshape(op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    """Also of ops that only take in or leave out axes of length one."""
    if position != 0 or op.inputs[0].shape.rank is None or op.outputs[0].shape.rank is None:
        return everything
    producer, consumer = _lengths(op.inputs[0]), _lengths(op.outputs[0])
    shorter = min(len(producer), len(consumer))
    leading = 0
    while leading < shorter and producer[leading] == consumer[leading]:
        leading += 1
    trailing = 0
    while trailing < shorter - leading and producer[-1 - trailing] == consumer[-1 - trailing]:
        trailing += 1
    laid_out = [axes[leading : len(axes) - trailing] for axes in (consumer, producer)]
    known = [[length for length in axes if length is not None] for axes in laid_out]
    unknown = sum(length is None for length in [*producer[:leading], *producer[len(producer) - trailing :]])
    if known != laid_out or math.prod(known[0]) != math.prod(known[1]) or unknown > 1:
        return everything
    return Reshaped(leading, tuple(known[0]), tuple(known[1]), trailing)


def _list_item(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    """TensorListGetItem: one slot of a list."""
    index = values[1]
    if position != 0 or index is None:
        return everything
    made = _rank(op.outputs[0]) or 0
    return ByAxis((Axis(None, (int(index),)), *(Axis(axis) for axis in range(made))))


def _list_with_item(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    """TensorListSetItem: the list as it was but for one slot, and there the item."""
    index = values[1]
    if position == 0:
        return same if index is None else ByAxis(_KEPT_OF_LIST, but=int(index))
    if position != 2 or index is None:
        return everything
    rank = _rank(op.inputs[2]) or 0
    return ByAxis(tuple(Axis(axis + 1) for axis in range(rank)), only=(0, int(index)))


_KEPT_OF_LIST = tuple(Axis(axis) for axis in range(8))
"""A list is laid out like its stack, of no more axes than this."""


def _list_as_tensor(_op: Any, _output: int, position: int, _values: Sequence[Value | None]) -> Selection:
    """TensorListStack and TensorListFromTensor: a list has its slots where its stack has its first axis."""
    return same if position == 0 else everything


def _gathered_list(op: Any, _output: int, position: int, values: Sequence[Value | None]) -> Selection:
    """TensorListGather: a stack of some slots."""
    indices = values[1]
    if position != 0 or indices is None:
        return everything
    count = op.inputs[1].shape.num_elements() or 0
    found = tuple(int(index) for index in np.broadcast_to(indices, (count,)))
    rank = _rank(op.outputs[0]) or 1
    return ByAxis((Axis(0, found), *(Axis(axis) for axis in range(1, rank))))


_MAKERS: dict[str, _Maker] = {
    "Pack": _pack,
    "Unpack": _unpack,
    "ConcatV2": _concat,
    "Split": _split,
    "SplitV": _split,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "GatherV2": _gather,
    "Transpose": _transpose,
    "ReverseV2": _reverse,
    "Pad": _pad,
    "PadV2": _pad,
    "Tile": _tile,
    "BroadcastTo": _broadcast,
    "Reshape": _reshape,
    "ExpandDims": _reshape,
    "Squeeze": _reshape,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "TensorListGetItem": _list_item,
    "TensorListSetItem": _list_with_item,
    "TensorListStack": _list_as_tensor,
    "TensorListFromTensor": _list_as_tensor,
    "TensorListGather": _gathered_list,
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(_KEEPS_ALL_BUT_LAST, _all_but_last),
}
