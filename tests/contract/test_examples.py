"""The vendor's own example answers are read by the client."""

from __future__ import annotations

import json

import pytest

from reconciler.api import wire
from reconciler.api.outcome import of_answer
from reconciler.api.transport import Answer
from reconciler.journal.states import State
from tests.api.fake_servers import NOW
from tests.contract.published import WRITES, operation


def example(name: str) -> bytes:
    [found] = operation(name).answer_examples
    return json.dumps(found).encode()


def test_the_example_of_the_list_of_pools_is_read_with_what_it_leaves_open() -> None:
    page = wire.decode_pools(example("ListDesktopPools"))
    assert [(pool.name, pool.type, pool.doubts) for pool in page.desktop_pools] == [
        ("POOL1", "STATIC", []),
        ("POOL2", "DEDICATED", []),
    ]
    first, second = page.desktop_pools
    assert first.data_volumes is None, "left out, which is not the same as empty"
    assert [(disk.id, disk.type, disk.size) for disk in second.data_volumes or ()] == [(None, "SAS", 80)] * 2
    assert page.total_count == 2


def test_the_example_of_the_list_of_sub_jobs_is_read() -> None:
    page = wire.decode(example("ListItaSubJobs"), wire.SubJobsPage)
    assert [(sub.job_id, sub.status) for sub in page.jobs] == [
        ("0e2dae94-23ff-449a-bb9c-1b808cf2106d", "RUNNING")
    ] * 2
    assert page.total_count == 2


@pytest.mark.parametrize("name", WRITES)
def test_the_example_of_a_write_is_an_acceptance_with_its_job(name: str) -> None:
    outcome = of_answer(Answer(200, {}, example(name)), NOW)
    assert (outcome.state, outcome.job_id) == (State.ACCEPTED, "abc85365-0b2e-4b4f-a091-f7db72072d4b")


def test_no_other_operation_has_an_example_that_nobody_reads() -> None:
    assert [operation(name).answer_examples for name in ("ListPoolDesktopsDetail", "ShowJob")] == [(), ()]
