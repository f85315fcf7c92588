"""Writes datasets/{bulgarian,hungarian,codes,paraphrase} again: `python3 datasets/generate`. Equal input, equal bytes."""

from pathlib import Path

import bulgarian
import codes
import hungarian
import paraphrase

for module in (bulgarian, hungarian, codes, paraphrase):
    made = module.make()
    made.write(Path(__file__).resolve().parent.parent)
    print(f"{made.name}: {len(made.corpus)} documents, {len(made.queries)} queries, {len(made.judgements)} judgements")
