#!/usr/bin/env python3
"""Measures hnswlib on the vectors of `cargo bench --bench graph`, which starts this script.

usage: hnswlib_graph.py FOLDER ROWS DIMENSIONS K

FOLDER holds base.f32 and query.f32 (unit length) and truth.u32 (K rows per query). M is 16, ef_construction 200, on
one thread. The script prints one line of JSON for the build and one for each ef, with CPU seconds of this process. It
needs numpy and hnswlib.
"""
import json
import resource
import sys
import time

import hnswlib
import numpy as np

EFS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def main():
    folder, rows, dimensions, k = sys.argv[1], *map(int, sys.argv[2:5])
    base = np.fromfile(f"{folder}/base.f32", dtype="<f4").reshape(-1, dimensions)[:rows]
    queries = np.fromfile(f"{folder}/query.f32", dtype="<f4").reshape(-1, dimensions)
    truth = np.fromfile(f"{folder}/truth.u32", dtype="<u4").reshape(-1, k)
    queries = queries[: len(truth)]
    before, began = resident(), time.process_time()
    index = hnswlib.Index("ip", dimensions)
    index.init_index(rows, M=16, ef_construction=200)
    index.add_items(base, num_threads=1)
    print(json.dumps({"build": time.process_time() - began, "resident": resident() - before}), flush=True)
    for ef in EFS:
        index.set_ef(ef)
        rates = []
        for _ in range(3):
            began = time.process_time()
            found, _distances = index.knn_query(queries, k=k, num_threads=1)
            rates.append(len(queries) / (time.process_time() - began))
        right = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist()))
        recall = right / truth.size
        print(json.dumps({"ef": ef, "recall": recall, "rate": sorted(rates)[1]}), flush=True)
        if recall > 0.999:
            break


main()
