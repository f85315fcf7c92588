#!/usr/bin/env python3
"""Measures Ringfence over HTTP in the same way as the scripts of the other engines: each tenant has a key and a
namespace of its own.

usage: PYTHONPATH=DIR peer_ringfence.py --data DATA --out FILE.json, where DIR holds the `common.py` of those scripts.
The script starts the server that RINGFENCE_BINARY names in a temporary folder on free loopback ports, and stops it.
Every query is authenticated and audited, and its answer carries id and text. The common figures count client and
server together; the figures `server_*` count the server alone. It needs numpy and psutil.
"""
import json
import shutil

from common import args, run, tmp
from common import Data
from ringfence_server import serving

BATCH = 500


def main():
    options = args()
    data, folder = Data(options.data, options.queries), tmp()
    try:
        with serving(folder) as server:
            measure(options, data, folder, server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(options, data, folder, server):
    run.extra = [server.pid]
    keys, path, asked = {}, "/v1/namespaces/docs", []

    def ingest():
        for tenant in sorted(set(data.names)):
            keys[tenant] = server.key(tenant)
        for tenant, key in keys.items():
            rows = [n for n, name in enumerate(data.names) if name == tenant]
            for at in range(0, len(rows), BATCH):
                batch = rows[at : at + BATCH]
                documents = [
                    {"id": str(n), "text": data.texts[n], "vector": [float(x) for x in data.base[n]]} for n in batch
                ]
                server.data.call("POST", f"{path}/documents", key, {"documents": documents})

    def query(vector, tenant, _variant):
        asked.append(server.spent())
        body = {"vector": [float(x) for x in vector], "top_k": 10, "include": ["text"]}
        reply = server.data.call("POST", f"{path}/search", keys[tenant], body)
        return [int(hit["document_id"]) for hit in reply["hits"]]

    notes = "HTTP, audit and auth included"
    result = run("ringfence", server.version, data, ingest, query, options.out, path=folder, notes=notes)
    # Skip the first round, in which each tenant's index is built.
    first = len(asked) // 3
    each = (asked[-1] - asked[first]) / (len(asked) - 1 - first)
    result |= {"server_ingest_cpu_s": round(asked[0], 2), "server_cpu_ms_per_query": round(each * 1e3, 3)}
    with open(options.out, "w") as out:
        json.dump(result, out, indent=1)
    print(f"the server alone: {asked[0]:.2f} s of CPU for ingest, {each * 1e3:.3f} ms for a query")


main()
