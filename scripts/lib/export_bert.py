"""BERT-like sentence embedder: model.safetensors and config.json to ONNX. Standard library only.

    export_bert.py FOLDER OUT.onnx [--int8]

The graph takes input_ids, attention_mask and token_type_ids, and ends in `sentence_embedding`: the mean over the
text's tokens, scaled to length 1; and in what that is the mean of, `token_embeddings`, for late interaction. Attention is ONNX Runtime's own fused operator; it fuses the rest when it loads
the file. With --int8 the weights are stored in 8 bits with a scale per output (per word for the embeddings), and
activations are quantised on the fly with one scale per call, so rows of one batch influence each other.
The same input gives the same bytes.
"""

import json
import struct
import sys
from array import array

from onnx_file import FLOAT, INT32, INT64, INT8, Graph

FUSED = "com.microsoft"


class Weights:
    """Reads tensors of a safetensors file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        length = struct.unpack("<Q", self.bytes[:8])[0]
        header = json.loads(self.bytes[8 : 8 + length])
        self.start = 8 + length
        self.entries = {k[5:] if k.startswith("bert.") else k: v for k, v in header.items() if k != "__metadata__"}

    def get(self, name):
        """Floats and shape."""
        entry = self.entries[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, only F32 is known")
        begin, end = entry["data_offsets"]
        floats = array("f")
        floats.frombytes(self.bytes[self.start + begin : self.start + end])
        if sys.byteorder == "big":
            floats.byteswap()
        return floats, entry["shape"]


def raw(numbers):
    """Little-endian bytes."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def transposed(floats, rows, columns):
    """A rows x columns matrix as columns x rows."""
    out = array(floats.typecode)
    for column in range(columns):
        out.extend(floats[column::columns])
    assert len(out) == rows * columns
    return out


def quantised(floats, rows, columns):
    """Each row in 8 bits, symmetric, and its scale."""
    values, scales = array("b"), array("f")
    for row in range(rows):
        line = floats[row * columns : (row + 1) * columns]
        scale = max(max(line), -min(line)) / LEVELS or 1.0
        values.extend([round(x / scale) for x in line])
        scales.append(scale)
    return values, scales


class Bert:
    """Adds the layers to a graph."""

    def __init__(self, config, weights, int8):
        self.graph = Graph("bert")
        self.weights = weights
        self.int8 = int8
        self.width = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        self.epsilon = float(config["layer_norm_eps"])
        if config["hidden_act"] != "gelu":
            raise ValueError(f"hidden_act {config['hidden_act']} is not known")

    def build(self):
        """The whole graph."""
        g = self.graph
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            g.input(name, INT64, ["batch", "sequence"])
        mask = g.node("Cast", ["attention_mask"], "mask_int", to=INT32)
        x = self.embeddings()
        for layer in range(self.layers):
            x = self.layer(f"encoder.layer.{layer}.", x, mask)
        self.pooled(x)
        return g

    def embeddings(self):
        g = self.graph
        words = self.word_rows()
        types = g.node("Gather", [self.floats("embeddings.token_type_embeddings.weight"), "token_type_ids"], "types")
        shape = g.node("Shape", ["input_ids"], "shape")
        length = g.node("Slice", [shape, self.ints("one", [1]), self.ints("two", [2])], "length")
        table = self.floats("embeddings.position_embeddings.weight")
        zero = self.ints("zero", [0])
        positions = g.node("Slice", [table, zero, length, zero], "positions")
        both = g.node("Add", [words, types], "words_types")
        return self.norm("embeddings.LayerNorm", g.node("Add", [both, positions], "embedded"))

    def word_rows(self):
        g, name = self.graph, "embeddings.word_embeddings.weight"
        if not self.int8:
            return g.node("Gather", [self.floats(name), "input_ids"], "words")
        floats, (rows, columns) = self.weights.get(name)
        values, scales = quantised(floats, rows, columns)
        table = g.constant(name + "_int8", INT8, [rows, columns], raw(values))
        scale = g.constant(name + "_scale", FLOAT, [rows, 1], raw(scales))
        picked = g.node("Gather", [table, "input_ids"], "words_int8")
        wide = g.node("Cast", [picked], "words_wide", to=FLOAT)
        return g.node("Mul", [wide, g.node("Gather", [scale, "input_ids"], "words_scale")], "words")

    def layer(self, p, x, mask):
        g = self.graph
        inner = self.attention(p + "attention.self.", x, mask)
        x = self.add_norm(p + "attention.output.", self.linear(p + "attention.output.dense", inner), x)
        wide = self.linear(p + "intermediate.dense", x)
        part = g.node("Div", [wide, self.number("root_two", 2.0**0.5)], p + "gelu_part")
        erf = g.node("Erf", [part], p + "gelu_erf")
        plus = g.node("Add", [erf, self.number("one_float", 1.0)], p + "gelu_plus")
        gate = g.node("Mul", [wide, plus], p + "gelu_gate")
        active = g.node("Mul", [gate, self.number("half", 0.5)], p + "gelu")
        return self.add_norm(p + "output.", self.linear(p + "output.dense", active), x)

    def attention(self, p, x, mask):
        g, width = self.graph, self.width
        floats, bias = array("f"), array("f")
        for part in ("query", "key", "value"):
            floats.extend(self.weights.get(p + part + ".weight")[0])
            bias.extend(self.weights.get(p + part + ".bias")[0])
        bias = g.constant(p + "bias", FLOAT, [3 * width], raw(bias))
        if not self.int8:
            weight = g.constant(p + "weight", FLOAT, [width, 3 * width], raw(transposed(floats, 3 * width, width)))
            return g.node("Attention", [x, weight, bias, mask], p + "mixed", FUSED, num_heads=self.heads)
        weight, scale, zero = self.int8_weight(p, floats, 3 * width, width)
        xq, xs, xz = self.int8_input(p, x)
        inputs = [xq, weight, bias, xs, scale, mask, xz, zero]
        return g.node("QAttention", inputs, p + "mixed", FUSED, num_heads=self.heads)

    def linear(self, p, x):
        g = self.graph
        floats, (rows, columns) = self.weights.get(p + ".weight")
        bias = self.floats(p + ".bias")
        if not self.int8:
            weight = g.constant(p + ".weight", FLOAT, [columns, rows], raw(transposed(floats, rows, columns)))
            return g.node("Add", [g.node("MatMul", [x, weight], p + "_product"), bias], p)
        weight, scale, zero = self.int8_weight(p, floats, rows, columns)
        xq, xs, xz = self.int8_input(p, x)
        product = g.node("MatMulInteger", [xq, weight, xz, zero], p + "_product")
        wide = g.node("Cast", [product], p + "_wide", to=FLOAT)
        both = g.node("Mul", [xs, scale], p + "_scales")
        return g.node("Add", [g.node("Mul", [wide, both], p + "_scaled"), bias], p)

    def int8_weight(self, p, floats, rows, columns):
        g = self.graph
        values, scales = quantised(floats, rows, columns)
        weight = g.constant(p + "_int8", INT8, [columns, rows], raw(transposed(values, rows, columns)))
        scale = g.constant(p + "_scale", FLOAT, [rows], raw(scales))
        return weight, scale, g.constant(p + "_zero", INT8, [rows], bytes(rows))

    def int8_input(self, p, x):
        return self.graph.node("DynamicQuantizeLinear", [x], [p + "_in", p + "_in_scale", p + "_in_zero"])

    def add_norm(self, p, x, rest):
        return self.norm(p + "LayerNorm", self.graph.node("Add", [x, rest], p + "sum"))

    def norm(self, p, x):
        inputs = [x, self.floats(p + ".weight"), self.floats(p + ".bias")]
        return self.graph.node("LayerNormalization", inputs, p, axis=-1, epsilon=self.epsilon)

    def pooled(self, x):
        g, one, two = self.graph, self.ints("one", [1]), self.ints("two", [2])
        mask = g.node("Cast", [g.node("Unsqueeze", ["attention_mask", two], "mask_column")], "mask_float", to=FLOAT)
        total = g.node("ReduceSum", [g.node("Mul", [x, mask], "masked"), one], "total", keepdims=0)
        count = g.node("ReduceSum", [mask, one], "count", keepdims=0)
        mean = g.node("Div", [total, count], "mean")
        length = g.node("ReduceL2", [mean], "norm", axes=[1], keepdims=1)
        least = g.node("Max", [length, self.number("least", 1e-12)], "norm_least")
        g.node("Div", [mean, least], "sentence_embedding")
        g.output("sentence_embedding", FLOAT, ["batch", self.width])
        g.node("Identity", [x], "token_embeddings")
        g.output("token_embeddings", FLOAT, ["batch", "sequence", self.width])

    def floats(self, name):
        floats, shape = self.weights.get(name)
        return self.graph.constant(name, FLOAT, shape, raw(floats))

    def number(self, name, value):
        return self.graph.constant(name, FLOAT, [], struct.pack("<f", value))

    def ints(self, name, values):
        return self.graph.constant(name, INT64, [len(values)], struct.pack(f"<{len(values)}q", *values))


# All of 8 bits. Processors without VNNI add two products in 16 bits, where 2 * 255 * 127 does not fit: the server asks
# ONNX Runtime for its precise kernels (session.x64quantprecision), which do not saturate there and cost nothing elsewhere.
LEVELS = 127.0


def main():
    folder, out = sys.argv[1:3]
    with open(folder + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    bert = Bert(config, Weights(folder + "/model.safetensors"), "--int8" in sys.argv[3:])
    bert.build().save(out, opset=17, domains=[FUSED])


if __name__ == "__main__":
    main()
