#!/usr/bin/env python3
"""Makes real embeddings for `cargo bench --bench graph`: it embeds the glosses of WordNet with a sentence model on
ONNX Runtime.

usage: real_embeddings.py MODEL WORDNET OUT [ROWS [QUERIES]]
MODEL holds model.onnx and tokenizer.json (as `.cache/models/all-MiniLM-L6-v2` does). WORDNET holds the files
data.noun, data.verb, data.adj and data.adv (Debian's wordnet-base: `apt-get download wordnet-base`, `dpkg-deb -x …
.`, then usr/share/wordnet; WordNet has its own permissive licence). The script writes OUT/base.f32 and OUT/query.f32
(unit length, row after row, little endian): ROWS texts (100,000) and QUERIES other texts (1,000), chosen by a fixed
shuffle. It needs numpy, onnxruntime and tokenizers, runs on one thread, and takes about 2 to 4 ms of CPU per text.
"""
import random
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

TOKENS_MAX = 64
# Texts of one batch have about the same length, so that little is computed for padding.
BATCH = 32


def glosses(folder):
    """Each sense as its words and its gloss: "window: the time period that is considered best …"."""
    texts = []
    for word_class in ["noun", "verb", "adj", "adv"]:
        for line in (folder / f"data.{word_class}").read_text(encoding="latin-1").splitlines():
            if line.startswith(" "):
                continue  # the licence
            fields, _, gloss = line.partition(" | ")
            fields = fields.split()
            words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            texts.append(", ".join(word.replace("_", " ") for word in words) + ": " + gloss.strip())
    return texts


def main():
    model, wordnet, out = map(Path, sys.argv[1:4])
    rows, queries = (int(n) for n in (sys.argv[4:] + ["100000", "1000"][len(sys.argv) - 4 :])[:2])
    texts = sorted(set(glosses(wordnet)))
    random.Random(7).shuffle(texts)
    texts = texts[: rows + queries]
    if len(texts) < rows + queries:
        sys.exit(f"{len(texts)} texts are fewer than {rows} + {queries}")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS_MAX)
    tokenizer.no_padding()
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model / "model.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = {one.name for one in session.get_inputs()}
    vectors = np.empty((len(texts), 0), dtype="<f4")
    order = sorted(range(len(texts)), key=lambda n: len(tokens[n]))
    began = time.process_time()
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        width = max(len(tokens[n]) for n in batch)
        ids = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, n in enumerate(batch):
            ids[row, : len(tokens[n])] = tokens[n]
            mask[row, : len(tokens[n])] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {name: given[name] for name in inputs})[0]
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True) if hidden.ndim == 3 else hidden
        if vectors.shape[1] == 0:
            vectors = np.empty((len(texts), mean.shape[1]), dtype="<f4")
        vectors[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        if at % (BATCH * 200) == 0:
            print(f"{at} of {len(order)}, {time.process_time() - began:.0f} s of CPU", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    vectors[:rows].tofile(out / "base.f32")
    vectors[rows:].tofile(out / "query.f32")
    print(f"{rows} + {queries} texts, {time.process_time() - began:.0f} s of CPU")


main()
