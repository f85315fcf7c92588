"""What the generators share: choices that are the same in every version of Python, and the BEIR layout."""

import hashlib
import json
from pathlib import Path


def pick(n: int, *key: object) -> int:
    """A number below `n` that looks random and depends on the key alone."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % n


class Set:
    """A collection in the making."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.corpus: list[dict] = []
        self.queries: list[dict] = []
        self.judgements: list[tuple[str, str, int]] = []

    def document(self, id: str, title: str, text: str) -> None:
        self.corpus.append({"_id": id, "title": title, "text": text})

    def query(self, id: str, text: str, grades: dict[str, int]) -> None:
        self.queries.append({"_id": id, "text": text})
        self.judgements.extend((id, document, grade) for document, grade in sorted(grades.items()))

    def write(self, under: Path) -> None:
        """Writes the three files; the manifest beside them is written by hand."""
        folder = under / self.name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        for name, items in (("corpus", self.corpus), ("queries", self.queries)):
            lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in items)
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        lines = ["query-id\tcorpus-id\tscore\n", *("\t".join(map(str, line)) + "\n" for line in self.judgements)]
        (folder / "qrels/test.tsv").write_text("".join(lines), encoding="utf-8")
