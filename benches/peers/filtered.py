#!/usr/bin/env python3
"""Measures the search for the nearest ten rows under a filter, one engine per run: recall against the exact answer
and CPU per query, by the share of rows that pass the filter.

usage: filtered.py ENGINE --vectors DIR [--rows 100000] [--queries 200]

ENGINE is ringfence (over HTTP, with the server of RINGFENCE_BINARY), qdrant-edge (one HNSW, in process) or pgvector
(HNSW, iterative scan); DIR holds base.npy and query.npy, unit length. Rows pass at random (a number below a bound),
because they are near the query (cells around rows that were drawn as centres), or because they are near something
else. The script prints a line for each case. CPU time is that of client and server together; for ringfence also that
of the server alone. It needs numpy and psutil, and the engine's package.
"""
import argparse
import os
import shutil
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
import numpy as np
import psutil

RATES = [0.5, 0.1, 0.03, 0.01, 0.001]


class Data:
    """Vectors, and for each vector one attribute per rate."""

    def __init__(self, folder, rows, queries):
        self.base = np.load(f"{folder}/base.npy", mmap_mode="r")[:rows].copy()
        self.query = np.load(f"{folder}/query.npy")[:queries]
        rng = np.random.default_rng(5)
        self.chance = rng.random(rows).astype(np.float32)
        self.cells, self.own, self.other = {}, {}, {}
        for rate in RATES:
            centres = self.base[rng.choice(rows, round(1 / rate), replace=False)]
            near = [np.argmax(self.base[at : at + 10_000] @ centres.T, axis=1) for at in range(0, rows, 10_000)]
            cells = self.cells[rate] = np.concatenate(near)
            self.own[rate] = np.argmax(self.query @ centres.T, axis=1)
            full = np.flatnonzero(np.bincount(cells, minlength=len(centres)) >= 10)
            others = rng.choice(full, len(self.query))
            clash = others == self.own[rate]
            others[clash] = full[(np.searchsorted(full, others[clash]) + 1) % len(full)]
            self.other[rate] = others

    def attributes(self, row):
        return {"chance": float(self.chance[row])} | {name(rate): int(cells[row]) for rate, cells in self.cells.items()}

    def passing(self, kind, rate, n):
        """The rows that pass the filter of this query."""
        if kind == "by chance":
            return np.flatnonzero(self.chance < np.float32(rate))
        cell = self.own[rate][n] if kind == "its topic" else self.other[rate][n]
        return np.flatnonzero(self.cells[rate] == cell)

    def condition(self, kind, rate, n):
        """The filter of this query as (attribute, comparison, value)."""
        if kind == "by chance":
            return "chance", "lt", float(np.float32(rate))
        return name(rate), "eq", int(self.own[rate][n] if kind == "its topic" else self.other[rate][n])


def name(rate):
    return f"cell{round(1 / rate)}"


def ringfence(data, folder):
    from ringfence_server import serving

    with serving(folder) as server:
        key, path = server.key("t"), "/v1/namespaces/docs"
        for at in range(0, len(data.base), 500):
            rows = range(at, min(at + 500, len(data.base)))
            vector = lambda n: [float(x) for x in data.base[n]]
            documents = [
                {"id": str(n), "text": f"document {n}", "vector": vector(n), "attributes": data.attributes(n)} for n in rows
            ]
            server.data.call("POST", f"{path}/documents", key, {"documents": documents})
        busy = server.spent()
        while True:
            time.sleep(5)
            if server.spent() - busy < 0.2:
                break
            busy = server.spent()

        def ask(vector, condition):
            attribute, comparison, value = condition
            body = {"vector": [float(x) for x in vector], "top_k": 10, "include": []}
            body["filter"] = {"type": comparison, "key": attribute, "value": value}
            return [int(hit["document_id"]) for hit in server.data.call("POST", f"{path}/search", key, body)["hits"]]

        yield ask, [server.pid], server.spent


def qdrant_edge(data, folder):
    import qdrant_edge as q

    os.mkdir(f"{folder}/q")
    graph = q.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10_000, max_indexing_threads=2)
    optimizers = q.EdgeOptimizersConfig(indexing_threshold=1_000, default_segment_number=1)
    vectors = q.EdgeVectorParams(size=data.base.shape[1], distance=q.Distance.Cosine)
    shard = q.EdgeShard.create(f"{folder}/q", q.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers))
    shard.update(q.UpdateOperation.create_field_index("chance", q.FloatIndexParams()))
    for rate in RATES:
        shard.update(q.UpdateOperation.create_field_index(name(rate), q.IntegerIndexParams()))
    for at in range(0, len(data.base), 500):
        rows = range(at, min(at + 500, len(data.base)))
        points = [q.Point(n, data.base[n].tolist(), data.attributes(n)) for n in rows]
        shard.update(q.UpdateOperation.upsert_points(points))
    while shard.optimize():
        pass

    def ask(vector, condition):
        attribute, comparison, value = condition
        if comparison == "lt":
            condition = q.FieldCondition(key=attribute, range=q.RangeFloat(lt=value))
        else:
            condition = q.FieldCondition(key=attribute, match=q.MatchValue(value=value))
        nearest = q.Query.Nearest(vector.tolist())
        request = q.QueryRequest(
            limit=10, query=nearest, filter=q.Filter(must=[condition]), params=q.SearchParams(hnsw_ef=128)
        )
        return [found.id for found in shard.query(request)]

    yield ask, [], None


def pgvector(data, folder):
    import pgserver
    import psycopg
    from pgvector.psycopg import register_vector

    os.chmod(folder, 0o777)
    server = pgserver.get_server(folder)
    db = psycopg.connect(server.get_uri(), autocommit=True)
    db.execute("create extension if not exists vector")
    register_vector(db)
    cells = [name(rate) for rate in RATES]
    columns = "".join(f", {cell} int" for cell in cells)
    db.execute(f"create table x(id int, chance float4{columns}, v vector({data.base.shape[1]}))")
    with db.cursor().copy("copy x from stdin with (format binary)") as copy:
        copy.set_types(["int4", "float4"] + ["int4"] * len(cells) + ["vector"])
        for n in range(len(data.base)):
            of = data.attributes(n)
            copy.write_row([n, of["chance"]] + [of[cell] for cell in cells] + [data.base[n]])
    db.execute("set maintenance_work_mem='1GB'")
    db.execute("create index on x using hnsw (v vector_ip_ops) with (m=16, ef_construction=200)")
    for column in ["chance"] + cells:
        db.execute(f"create index on x({column})")
    db.execute("analyze x")
    for setting in ("hnsw.ef_search=128", "hnsw.iterative_scan=relaxed_order", "plan_cache_mode=force_custom_plan"):
        db.execute(f"set {setting}")

    def ask(vector, condition):
        attribute, comparison, value = condition
        test = f"{attribute} {'<' if comparison == 'lt' else '='} %s"
        return [
            row[0]
            for row in db.execute(
                f"select id from x where {test} order by v <#> %s limit 10", (value, vector), prepare=True
            ).fetchall()
        ]

    with open(f"{folder}/postmaster.pid") as pid:
        yield ask, [int(pid.readline())], None
    db.close()
    server.cleanup()


def spent(pids):
    """CPU seconds of this process, of the given processes, and of their children."""
    own = psutil.Process()
    processes = [own] + [other for pid in pids for other in [psutil.Process(pid)] + psutil.Process(pid).children(True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main():
    engines = {"ringfence": ringfence, "qdrant-edge": qdrant_edge, "pgvector": pgvector}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=engines)
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    data, folder = Data(options.vectors, options.rows, options.queries), tempfile.mkdtemp(prefix="filtered_")
    opened = engines[options.engine](data, folder)
    try:
        ask, pids, server = next(opened)
        print("| engine | rows that pass | rate asked, seen | recall@10 | CPU ms a query | of it the server | p50 ms |")
        print("|---|---|---|---|---|---|---|")
        for kind in ("by chance", "its topic", "another topic"):
            for rate in RATES:
                print(row(options.engine, data, (kind, rate), ask, pids, server), flush=True)
    finally:
        for _ in opened:
            pass
        shutil.rmtree(folder, ignore_errors=True)


def row(engine, data, which, ask, pids, server):
    conditions = [data.condition(*which, n) for n in range(len(data.query))]
    for vector, condition in list(zip(data.query, conditions))[:20]:
        ask(vector, condition)
    before, served, times, answers = spent(pids), server and server(), [], []
    for vector, condition in zip(data.query, conditions):
        start = time.perf_counter()
        answers.append(ask(vector, condition))
        times.append(time.perf_counter() - start)
    each = (spent(pids) - before) / len(data.query) * 1e3
    of_server = f"{(server() - served) / len(data.query) * 1e3:.2f}" if server else ""
    right, expected, passed = 0, 0, 0
    for n, (vector, answer) in enumerate(zip(data.query, answers)):
        rows = data.passing(*which, n)
        best = rows[np.argsort(-(data.base[rows] @ vector))[:10]]
        right += len(set(best.tolist()) & set(answer))
        expected, passed = expected + len(best), passed + len(rows)
    seen = passed / len(data.query) / len(data.base)
    p50 = np.median(times) * 1e3
    kind, rate = which
    return f"| {engine} | {kind} | {rate}, {seen:.4f} | {right / expected:.4f} | {each:.2f} | {of_server} | {p50:.2f} |"


sys.exit(main())
