"""Writes ONNX files with nothing but the standard library.

Just enough of the protobuf wire format for graphs of tensors: https://protobuf.dev/programming-guides/encoding and
onnx.proto3. Equal graphs give equal bytes, on every machine and with every Python from 3.8 on.
"""

import struct

FLOAT, INT8, INT32, INT64 = 1, 3, 6, 7
_SIZE = {FLOAT: 4, INT8: 1, INT32: 4, INT64: 8}


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, name):
        self.name = name
        self.nodes = []
        self.constants = {}
        self.inputs = []
        self.outputs = []

    def node(self, op, inputs, outputs, domain="", **attributes):
        """Adds a node named like its first output; returns its outputs, or the only one."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        body = b"".join(_text(1, i) for i in inputs) + b"".join(_text(2, o) for o in outputs)
        body += _text(3, outputs[0]) + _text(4, op)
        body += b"".join(_bytes(5, _attribute(k, v)) for k, v in sorted(attributes.items()))
        self.nodes.append(body + (_text(7, domain) if domain else b""))
        return outputs[0] if len(outputs) == 1 else outputs

    def constant(self, name, kind, shape, raw):
        """Adds a tensor from little-endian bytes, once per name."""
        size = _SIZE[kind]
        for n in shape:
            size *= n
        if size != len(raw):
            raise ValueError(f"{name}: {len(raw)} bytes do not fill {shape}")
        if name not in self.constants:
            dims = b"".join(_int(1, n) for n in shape)
            self.constants[name] = dims + _int(2, kind) + _text(8, name) + _bytes(9, raw)
        return name

    def input(self, name, kind, shape):
        """Declares an input; a dimension is a number or a name."""
        self.inputs.append(_value(name, kind, shape))
        return name

    def output(self, name, kind, shape):
        """Declares an output."""
        self.outputs.append(_value(name, kind, shape))
        return name

    def save(self, path, opset, domains=()):
        """Writes the model."""
        graph = b"".join(_bytes(1, n) for n in self.nodes) + _text(2, self.name)
        graph += b"".join(_bytes(5, c) for c in self.constants.values())
        graph += b"".join(_bytes(11, i) for i in self.inputs) + b"".join(_bytes(12, o) for o in self.outputs)
        opsets = [("", opset)] + [(d, 1) for d in domains]
        with open(path, "wb") as file:
            file.write(_int(1, 8) + _text(2, "ringfence") + _bytes(7, graph))
            file.write(b"".join(_bytes(8, (_text(1, d) if d else b"") + _int(2, v)) for d, v in opsets))


def _attribute(name, value):
    if isinstance(value, float):
        return _text(1, name) + _tag(2, 5) + struct.pack("<f", value) + _int(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _int(3, value) + _int(20, 2)
    return _text(1, name) + b"".join(_int(8, v) for v in value) + _int(20, 7)


def _value(name, kind, shape):
    dims = b"".join(_bytes(1, _text(2, d) if isinstance(d, str) else _int(1, d)) for d in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, dims)))


def _varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _tag(field, wire):
    return _varint(field << 3 | wire)


def _int(field, n):
    return _tag(field, 0) + _varint(n)


def _bytes(field, body):
    return _tag(field, 2) + _varint(len(body)) + body


def _text(field, text):
    return _bytes(field, text.encode())
