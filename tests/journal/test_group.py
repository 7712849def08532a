from __future__ import annotations

from reconciler.journal.records import Claim, Journal

DISKS = [Claim("disks", "a", 1), Claim("disks", "b", 1), Claim("copies", "a", 7)]


def test_claims_of_one_group_add_up_to_the_limit_and_no_further(journal: Journal) -> None:
    assert journal.claim_losses("g", DISKS, {"disks": 3}) == {}
    assert journal.claim_losses("g", [Claim("disks", "c", 1)], {"disks": 3}) == {}
    assert journal.claim_losses("g", [Claim("disks", "d", 1)], {"disks": 3}) == {"disks": 4}
    assert journal.claim_losses("g", [Claim("copies", "c", 4)], {"copies": 10, "disks": 3}) == {"copies": 11}


def test_a_run_that_claims_again_adds_nothing(journal: Journal) -> None:
    for _ in range(3):
        assert journal.claim_losses("g", DISKS, {"disks": 2, "copies": 7}) == {}


def test_a_refused_claim_leaves_no_trace(journal: Journal) -> None:
    assert journal.claim_losses("g", DISKS, {"disks": 1}) == {"disks": 2}
    assert journal.claim_losses("g", [Claim("disks", "c", 1)], {"disks": 1}) == {}


def test_a_claim_that_grew_counts_what_it_grew_by(journal: Journal) -> None:
    assert journal.claim_losses("g", [Claim("copies", "a", 7)], {"copies": 10}) == {}
    assert journal.claim_losses("g", [Claim("copies", "a", 9)], {"copies": 10}) == {}
    assert journal.claim_losses("g", [Claim("copies", "a", 3), Claim("copies", "b", 2)], {"copies": 10}) == {
        "copies": 11
    }


def test_groups_do_not_share(journal: Journal) -> None:
    assert journal.claim_losses("g", DISKS, {"disks": 2}) == {}
    assert journal.claim_losses("h", [Claim("disks", "z", 2)], {"disks": 2}) == {}
