"""The floor: fetch the bytes that a plan needs and decode them, with nothing around it.

``python tests/benchmarks/bare.py URL PROJECT TOKEN``.
"""

import json
import sys

import httpx

url, project, token = sys.argv[1:]
pools: list[object] = []
with httpx.Client(headers={"X-Auth-Token": token}, timeout=60) as http:
    while True:
        address = f"{url}/v2/{project}/desktop-pools?limit=1000&offset={len(pools)}"
        page = json.loads(http.get(address).raise_for_status().content)
        pools += page["desktop_pools"]
        if len(pools) >= page["total_count"]:
            break
print(len(pools))
