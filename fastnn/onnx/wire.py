"""The outline of a protobuf message, read before the message is: a small file can stand for a huge one.

protobuf keeps some hundred bytes for a message of two, and eight for an integer of one. So the parts are counted
first, as https://protobuf.dev/programming-guides/encoding/ describes them.
"""

from ..errors import FileFormatError

MAX_PARTS = 1 << 17  # messages and numbers that stand alone
MAX_PACKED = 1 << 20  # bytes of integers of variable length
# {message: {field: message that it holds}} of onnx.proto as far as models that are read have them; packed integers are "".
_TENSOR = {5: "", 7: "", 11: "", 13: {}}
_ATTRIBUTE: dict = {5: _TENSOR, 8: "", 10: _TENSOR}
_TYPE: dict = {1: {2: {1: {}}}, 8: {2: {1: {}}}}
_TYPE |= {4: {1: _TYPE}, 5: {2: _TYPE}, 9: {1: _TYPE}}
_INFO = {2: _TYPE}
_NODE = {5: _ATTRIBUTE, 9: {}}
_GRAPH: dict = {1: _NODE, 5: _TENSOR, 11: _INFO, 12: _INFO, 13: _INFO, 15: {1: _TENSOR, 2: _TENSOR}, 14: {}, 16: {}}
_ATTRIBUTE |= {6: _GRAPH, 11: _GRAPH, 14: _TYPE, 15: _TYPE, 22: {1: _TENSOR, 2: _TENSOR}, 23: {1: _TENSOR, 2: _TENSOR}}
_MODEL = {7: _GRAPH, 8: {}, 14: {}, 20: {1: _GRAPH, 2: _GRAPH}, 25: {7: _NODE, 11: _ATTRIBUTE, 12: _INFO}}


def check_wire(content, what):
    """Raise unless the message is well-formed as far as it is read here, and of a bearable number of parts."""
    # Released here, as an error on its way holds what it has passed.
    with memoryview(content) as whole, whole.cast("B") as view:
        _check(view, what)


def _check(view, what):
    parts = packed = 0
    stack = [(0, len(view), _MODEL)]
    while stack:
        at, end, fields = stack.pop()
        while at < end:
            parts += 1
            if parts > MAX_PARTS:
                raise FileFormatError(f"{what} has more than {MAX_PARTS:,} parts, which no model that fastnn reads needs")
            key, at = _number(view, at, end, what)
            kind = key & 7
            if kind == 0:
                _, at = _number(view, at, end, what)
            elif kind == 1 or kind == 5:
                at += 8 if kind == 1 else 4
            elif kind == 2:
                size, at = _number(view, at, end, what)
                if size > end - at:
                    raise _damaged(what, at)
                inner = fields.get(key >> 3)
                if inner == "":
                    packed += size
                    if packed > MAX_PACKED:
                        raise FileFormatError(
                            f"{what} has more than {MAX_PACKED:,} bytes of integers that are not stored as raw data"
                        )
                elif inner is not None and size:
                    stack.append((at, at + size, inner))
                at += size
            else:
                raise _damaged(what, at)
            if at > end:
                raise _damaged(what, at)


def _number(view, at, end, what):
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _damaged(what, at)


def _damaged(what, at):
    return FileFormatError(f"{what} is no ONNX file, or a damaged one: it makes no sense at byte {at:,}")
