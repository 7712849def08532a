"""The floor: fetch the bytes that a plan needs and decode them, with nothing around it.

``python tests/benchmarks/bare.py URL PROJECT TOKEN [MANIFESTS]``: with a folder, its manifests are read too, by
PyYAML's fastest loader, which checks nothing and knows no positions.
"""

import json
import sys
from pathlib import Path

import httpx

url, project, token, *folder = sys.argv[1:]
if folder:
    import yaml

    for path in Path(folder[0]).glob("*.yaml"):
        yaml.load(path.read_bytes(), yaml.CSafeLoader)
pools: list[object] = []
with httpx.Client(headers={"X-Auth-Token": token}, timeout=60) as http:
    while True:
        address = f"{url}/v2/{project}/desktop-pools?limit=1000&offset={len(pools)}"
        page = json.loads(http.get(address).raise_for_status().content)
        pools += page["desktop_pools"]
        if len(pools) >= page["total_count"]:
            break
print(len(pools))
