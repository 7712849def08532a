"""The same reading with the vendor's official SDK: the list alone, or one detail call for each pool as well.

``python tests/benchmarks/official.py URL PROJECT AK SK list|loop|threads``.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkworkspace.v2 import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    ListDesktopPoolsRequest,
    ShowDesktopPoolDetailRequest,
    WorkspaceClient,
)

THREADS = 8

url, project, access_key, secret_key, way = sys.argv[1:]
keys = BasicCredentials(access_key, secret_key, project)
client = WorkspaceClient.new_builder().with_credentials(keys).with_endpoint(url).build()
pools: list[Any] = []
while True:
    page = client.list_desktop_pools(ListDesktopPoolsRequest(limit=1000, offset=len(pools)))
    pools += page.desktop_pools
    if len(pools) >= page.total_count:
        break


def show(pool: Any) -> Any:
    return client.show_desktop_pool_detail(ShowDesktopPoolDetailRequest(pool_id=pool.id))


if way == "loop":
    pools = [show(pool) for pool in pools]
elif way == "threads":
    with ThreadPoolExecutor(THREADS) as threads:
        pools = list(threads.map(show, pools))
print(len(pools))
