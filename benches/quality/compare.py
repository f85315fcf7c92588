"""Compares Ringfence's rankings with those of bm25s and of plain MiniLM cosine similarity on the same collections.

The script reads the output of `ringfence eval retrieval --dataset DIR --output OUT` and prints, per collection,
nDCG@10 of every mode, of both peers and of their plain reciprocal rank fusion, with the ratios that are goals: text
at least 0.99 of bm25s, vector at most 0.005 below cosine, hybrid at least 0.98 of the better retriever.

    python3 -m venv v && v/bin/pip install numpy onnxruntime tokenizers bm25s PyStemmer
    v/bin/python benches/quality/compare.py --model .cache/models/all-MiniLM-L6-v2 DIR OUT [DIR OUT …]

bm25s: method lucene, k1 1.2, b 0.75, English stems and stop words; title and text. Cosine: the title followed by the
whole text, truncated to the model's 256 tokens, mean of the last layer. Every query with a judgement counts.
"""

import argparse
import collections
import json
import math
from pathlib import Path

import bm25s
import numpy as np
import onnxruntime
import Stemmer
from tokenizers import Tokenizer

DEPTH = 100
RRF_K = 60


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def judgements(path: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if float(grade) > 0:
            found[query][document] = float(grade)
    return found


def ndcg(ranking: list[str], relevant: dict[str, float]) -> float:
    def gain(grades: list[float]) -> float:
        return sum(g / math.log2(rank + 2) for rank, g in enumerate(grades[:10]))

    return gain([relevant.get(id, 0.0) for id in ranking]) / gain(sorted(relevant.values(), reverse=True))


class Cosine:
    def __init__(self, folder: Path) -> None:
        self.tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokens.no_padding()
        self.tokens.enable_truncation(256)
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self.inputs = [given.name for given in self.session.get_inputs()]

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.array([self.one(text) for text in texts])

    def one(self, text: str) -> np.ndarray:
        ids = np.array([self.tokens.encode(text).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        vector = self.session.run(None, {name: given[name] for name in self.inputs})[0][0]
        vector = vector.mean(axis=0) if vector.ndim == 2 else vector
        return vector / np.linalg.norm(vector)


def peers(folder: Path, model: Cosine) -> dict[str, dict[str, list[str]]]:
    """Rankings of ids by peer and query."""
    corpus = [item for item in lines(folder / "corpus.jsonl") if item.get("text") or item.get("title")]
    queries = lines(folder / "queries.jsonl")
    ids = [item["_id"] for item in corpus]
    texts = [f"{item.get('title') or ''}\n{item.get('text') or item.get('title')}".strip() for item in corpus]
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    vectors = model.embed(texts)
    out: dict[str, dict[str, list[str]]] = {"bm25s": {}, "cosine": {}, "their rrf": {}}
    for query in queries:
        asked = bm25s.tokenize([query["text"]], stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
        scores = index.get_scores(asked[0]) if asked[0] else np.zeros(len(ids))
        text = [ids[i] for i in np.argsort(-scores, kind="stable")[:DEPTH] if scores[i] > 0]
        near = [ids[i] for i in np.argsort(-(vectors @ model.one(query["text"])), kind="stable")[:DEPTH]]
        fused: dict[str, float] = collections.defaultdict(float)
        for ranking in (text, near):
            for rank, id in enumerate(ranking):
                fused[id] += 1 / (RRF_K + rank + 1)
        out["bm25s"][query["_id"]] = text
        out["cosine"][query["_id"]] = near
        out["their rrf"][query["_id"]] = sorted(fused, key=lambda id: (-fused[id], id))
    return out


def ours(output: Path) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in (output / "run.trec").read_text().splitlines():
        query, _, document, _, _, mode = line.split(" ")
        found[mode.removeprefix("ringfence-")][query].append(document)
    return found


def compare(folder: Path, output: Path, model: Cosine) -> None:
    relevant = judgements(folder / "qrels/test.tsv")
    figures = {}
    for name, rankings in (ours(output) | peers(folder, model)).items():
        figures[name] = sum(ndcg(rankings.get(query, []), grades) for query, grades in relevant.items()) / len(relevant)
    print(f"\n{folder.name}, nDCG@10 over {len(relevant)} queries")
    for name, figure in figures.items():
        print(f"  {name:<22}{figure:.4f}")
    better = max(figures["text"], figures["vector"])
    print(f"  text / bm25s          {figures['text'] / figures['bm25s']:.3f}  (goal 0.99)")
    print(f"  vector - cosine      {figures['vector'] - figures['cosine']:+.4f}  (goal -0.005)")
    print(f"  hybrid / better       {figures['hybrid'] / better:.3f}  (goal 0.98, above 1 on cranfield and adi)")
    print(f"  hybrid / their rrf    {figures['hybrid'] / figures['their rrf']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx and tokenizer.json")
    parser.add_argument("pairs", nargs="+", type=Path, help="DIR OUT [DIR OUT …]")
    args = parser.parse_args()
    model = Cosine(args.model)
    for folder, output in zip(args.pairs[::2], args.pairs[1::2], strict=True):
        compare(folder, output, model)


if __name__ == "__main__":
    main()
