"""One broken file per fault: its position and its message.

The files are in ``broken/``, named for the fault; faults that need big files are in ``test_events``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.load import load

BROKEN = Path(__file__).parent / "broken"

FAULTS: dict[str, list[str]] = {
    "alias-as-key": ["3:1: aliases ('*name') are not allowed; write a word as the key"],
    "alias": ["7:9: aliases ('*name') are not allowed; write the value out"],
    "anchor": ["6:9: anchors ('&name') are not allowed; write each value out"],
    "announce-blank": ["6:22: text: is blank; write what the people are to read"],
    "announce-control-character": [
        "6:22: text: has the control character \\u202e by which it may read as something else; remove it"
    ],
    "announce-empty": ["6:22: text: must not be empty; write what the people of the pool are to read, 1 to"],
    "announce-invisible": ["6:22: text: is blank; write what the people are to read"],
    "announce-is-text": ["6:15: announce: 'disks go' is not accepted; write a mapping such as {text:"],
    "announce-of-defaults-without-grace": [
        "8:5: announce: the pool has no grace, so a disk goes before anybody can read of it; write"
    ],
    "announce-too-long": ["6:22: text: 501 characters are too many; write what the people of the pool are"],
    "announce-unknown-field": [
        "6:22: text: '{date' is no field; write {disk}, {size}, {date}, {pool}, and no other braces",
        "6:22: text: '{who}' is no field; write {disk}, {size}, {date}, {pool}, and no other braces",
    ],
    "announce-unknown-key": [
        "6:15: 'text' is missing; write what the people of the pool are to read, 1 to 500",
        "6:16: unknown key 'texts'; did you mean 'text'?",
    ],
    "announce-without-grace": [
        "5:5: announce: the pool has no grace, so a disk goes before anybody can read of it; write"
    ],
    "announce-without-text": ["6:15: 'text' is missing; write what the people of the pool are to read, 1 to"],
    "apply-to-misspelt": ["7:15: apply_to: 'idel' is unknown; write new, idle or all; did you mean"],
    "bad-indentation": ["5:4: a '- ' is missing here; check the indentation"],
    "bidi-character": ['4:12: control character \\u202e; remove it, or write "\\u202e" in double'],
    "byte-order-mark-inside": ['5:1: control character \\ufeff; remove it, or write "\\ufeff" in double'],
    "colon-in-value": ["4:12: no key is allowed before this ':'; check the indentation, or quote the value"],
    "complex-key": ["3:3: a mapping or list cannot be a key; write a word as the key"],
    "control-character": ['4:12: control character \\u0007; remove it, or write "\\u0007" in double'],
    "count-zero": ["6:39: count: 0 is too small; write 1 or more"],
    "directive": ["1:1: '%' directives are not allowed; remove the line"],
    "disk-is-text": ["5:13: disks entry: 'SSD' is not accepted; write the disk as a mapping such"],
    "disks-empty": ["5:12: disks: an empty list removes every data disk of the pool; list its"],
    "disks-is-a-number": ["5:12: disks: 2 is not accepted; list the pool's data disks, such as [{type:"],
    "disks-missing": ["4:5: 'disks' is missing; list the pool's data disks, such as [{type: SSD,"],
    "drift-replace": ["7:19: correct entry: 'replace' is unknown; write remove, expand or add"],
    "drift-twice": ["11:1: this target already has a drift policy at drift-twice.yaml:7:8; merge"],
    "drift-without-daily-budget": [
        "7:8: 'disks_per_day' is missing; correct lists remove, so write how many"
    ],
    "duplicate-key-with-a-list": ["7:5: duplicate key 'disks'; it is already set at"],
    "duplicate-key": ["7:5: duplicate key 'name'; it is already set at duplicate-key.yaml:4:5;"],
    "eleven-disks-by-count": ["6:7: disks: the counts add up to 11 disks; write at most 10"],
    "eleven-disks": ["6:7: disks: 11 entries are too many; list the pool's data disks, such as"],
    "empty": ["0:0: the file is empty; write at least version, target and pools"],
    "endpoint": ["3:1: 'endpoint' is not allowed in a manifest; use --endpoint or"],
    "backup-is-text": ["5:13: backup: '24h' is not accepted; write a mapping such as {within: 24h}"],
    "backup-of-nothing": ["5:13: 'within' is missing; write a number with s, m, h or d"],
    "backup-unknown-key": ["5:27: unknown key 'vault'; the keys here are within"],
    "backup-zero": ["5:22: within: '0h' is not accepted; write a number with s, m, h or d"],
    "grace-negative": ["5:12: grace: '-7d' is not accepted; write a number with s, m, h or d"],
    "grace-of-weeks": ["5:12: grace: '1w' is not accepted; write a number with s, m, h or d"],
    "grace-over-a-year": ["5:12: grace: '366d' is not accepted; write a number with s, m, h or d"],
    "grace-without-unit": ["5:12: grace: 7 has no unit; write a number with s, m, h or d"],
    "grace-zero": ["5:12: grace: '0d' is not accepted; write a number with s, m, h or d"],
    "id-with-a-space": ["4:9: id: 'a b' is not accepted; write the id as the service shows it:"],
    "latin-1": ["4:12: not UTF-8; save the file as UTF-8"],
    "limit-negative": ["3:17: disks: -1 is too small; write 0 or more"],
    "limit-unlimited": ["3:17: pools: 'unlimited' is not accepted; write a whole number, 0 or more"],
    "limits-contradict": ["11:17: disks: the limit is 4 here and 3 at limits-contradict.yaml:3:17;"],
    "long-scalar": ["4:11: 4097 characters in one value; write at most 4096"],
    "manage-unknown": ["7:22: manage entry: 'replace' is unknown; write remove, expand or add"],
    "many-at-once": [
        "1:10: version: 3 is unknown; write version: 1",
        "2:18: region: 'AP' is not accepted; write the region's id in lower case,",
        "2:34: project_id: 'x' is not accepted; write the project's id in quotes: 32",
        "2:37: unknown key 'extra'; the keys here are region, project_id, profile",
        "3:17: disks: 'many' is not accepted; write a whole number, 0 or more",
        "5:5: the pool has neither name nor id; write at least one of them",
        "5:5: unknown key 'nam'; did you mean 'name'?",
        "7:7: disks: the counts add up to 100 disks; write at most 10",
        "7:27: size: 15 is not a multiple of 10; write 10 or 20",
        "7:38: count: 99 is too large; write 10 or less",
        "8:9: 'size' is missing; write the size in GB as a whole number, such as 100",
        "8:9: anchors ('&name') are not allowed; write each value out",
        "10:12: disks: an empty list removes every data disk of the pool; list its",
    ],
    "merge-key": ["6:32: merge keys are not allowed; write the entries out"],
    "name-is-a-number": ['4:11: name: 42 is not text; write it in quotes: "42"'],
    "name-is-empty": ["4:11: name: must not be empty; write the pool's name: 1 to 255"],
    "name-too-long": ["4:11: name: 256 characters are too many; write the pool's name: 1 to 255"],
    "neither-name-nor-id": ["4:5: the pool has neither name nor id; write at least one of them"],
    "nested-too-deep": ["3:23: nested more than 16 deep; a manifest needs six levels"],
    "no-pools": ["0:0: no file declares a pool; list at least one under pools"],
    "no-value": ["7:13: the value is missing; write one, or remove the entry"],
    "null-value": ["6:38: the value is missing; write one, or remove the entry"],
    "on-tie-unknown": ["7:13: on_tie: 'newest' is unknown; write remove_newest or remove_oldest;"],
    "only-separators": ["0:0: the file is empty; write at least version, target and pools"],
    "pinned-twice": ["9:14: disk 'd1' is pinned twice; it is already pinned at"],
    "pinned-with-count": ["6:47: count: an entry with an id is exactly one disk; remove count, and list"],
    "plain-date": ["4:11: dates are not allowed; quote it if you mean text"],
    "plain-exponent": ["4:11: a number must not have a fraction or an exponent; write a whole number, or"],
    "plain-float": ["6:27: a number must not have a fraction or an exponent; write a whole number, or"],
    "plain-octal": ["6:27: a number must not have a plus sign, leading zero, prefix or underscore; write"],
    "plain-underscore": [
        "6:27: a number must not have a plus sign, leading zero, prefix or underscore; write"
    ],
    "plain-yes": ["7:18: yes is ambiguous in YAML; write true or false, or quote it"],
    "pool-is-text": ["3:9: pools entry: 'a' is not accepted; write the pool as a mapping: '-"],
    "pools-is-a-mapping": ["3:8: pools: a mapping is not accepted; write a list of pools, each as '-"],
    "owner-ends-in-a-dash": ["5:12: owner: 'a-' is not accepted; write a name of lower case letters,"],
    "owner-in-upper-case": ["5:12: owner: 'Finance' is not accepted; write a name of lower case letters,"],
    "owner-with-underscore": ["5:12: owner: 'a_b' is not accepted; write a name of lower case letters,"],
    "profile-with-a-slash": ["2:19: profile: '../x' is not accepted; write a section of the credentials"],
    "project-in-upper-case": ["2:46: project_id: '0123456789ABCDEF0123456789ABCDEF' is not accepted; write"],
    "project-too-short": ["2:46: project_id: '0123' is not accepted; write the project's id in quotes:"],
    "protect-is-text": ["7:14: protect: 'd1' is not accepted; write a list of disk ids, such as"],
    "region-with-a-host": ["2:18: region: 'evil.example/' is not accepted; write the region's id in"],
    "replace-in-quotes": ["6:41: replace: 'true' is text; write true without quotes"],
    "root-is-a-list": ["1:1: not a manifest; write a mapping with version, target and pools"],
    "root-is-text": ["1:1: not a manifest; write a mapping with version, target and pools"],
    "same-pool-id-twice": ["9:19: duplicate pool with id 'p1'; it is already declared at"],
    "same-pool-twice": ["7:11: duplicate pool with name 'a'; it is already declared at"],
    "second-document": ["8:1: 'target' is missing; write target: {region: ap-southeast-3,"],
    "secret-key": ["2:10: 'SECRET_KEY' is not allowed in a manifest; put credentials into the environment"],
    "secret-with-leading-zero": [
        "3:1: 'password' is not allowed in a manifest; put credentials into the environment",
        "3:11: a number must not have a plus sign, leading zero, prefix or underscore; write",
    ],
    "size-absurd": ["6:27: size: 99999999999999999999 is not a multiple of 10; write 10 to 32760"],
    "size-in-quotes": ["6:27: size: '100' is text; write 100 without quotes"],
    "size-is-true": ["6:27: size: true is not accepted; write the size in GB as a whole number,"],
    "size-missing": ["6:9: 'size' is missing; write the size in GB as a whole number, such as 100"],
    "size-negative": ["6:27: size: -10 is too small; write 10 or more"],
    "size-not-a-multiple": ["6:27: size: 15 is not a multiple of 10; write 10 or 20"],
    "size-too-large": ["6:27: size: 32770 is too large; write 32760 or less"],
    "size-with-unit": ["6:27: size: '100GB' is not accepted; write the size in GB as a whole"],
    "size-zero": ["6:27: size: 0 is too small; write 10 or more"],
    "tab-indentation": ["4:1: a value cannot start with this character; indent with spaces, or quote"],
    "tag": ["6:16: tags ('!name') are not allowed; write the plain value"],
    "target-missing": ["1:1: 'target' is missing; write target: {region: ap-southeast-3,"],
    "two-profiles": ["5:9: this target has the profile 'other' here and no profile at"],
    "type-in-lower-case": ["6:16: type: 'ssd' is not a volume type; write SSD"],
    "type-missing": ["6:9: 'type' is missing; write the volume type as the service spells it,"],
    "unclosed-list": ["3:27: a value is missing here; write one, or close the bracket before it"],
    "unclosed-mapping": ["4:1: a mapping opened with '{' is not closed; write ',' or '}'"],
    "unclosed-quote": ["6:1: a quoted value is not closed; write the closing quote"],
    "unknown-escape": ["4:14: unknown escape; write '\\\\' for a backslash, or use single quotes"],
    "unknown-key-like-nothing": [
        "7:5: unknown key 'colour'; the keys here are name, id, disks, protect, apply_to,"
    ],
    "unknown-key-of-elsewhere": ["6:32: unknown key 'apply_to' here; write it under defaults or in a pool's"],
    "unknown-key": [
        "4:5: 'disks' is missing; list the pool's data disks, such as [{type: SSD,",
        "5:5: unknown key 'disk'; did you mean 'disks'?",
    ],
    "utf-16": ["1:1: not UTF-8; save the file as UTF-8"],
    "version-as-text": ["1:10: version: '1' is unknown; write version: 1"],
    "version-missing": ["1:1: 'version' is missing; write version: 1"],
    "version-true": ["1:10: version: true is unknown; write version: 1"],
    "version-unknown": ["1:10: version: 2 is unknown; write version: 1"],
    "window-day": ["7:40: days entry: 'saturday' is unknown; write mon, tue, wed, thu, fri,"],
    "window-hour": ["7:65: end: '24:00' is not accepted; write the time as 'HH:MM', from '00:00'"],
    "window-never-opens": ["7:65: end: equal to start (08:00), so the window never opens; write a different"],
    "window-timezone": ["7:82: timezone: 'Mars/Base' is unknown; write an IANA name, such as"],
    "window-without-days": ["7:39: days: must not be empty; write a list of days, such as [mon,"],
}
"""File name to its faults, each as ``line:column: beginning of the message``; 0:0 is the whole file."""


def test_every_broken_file_has_its_expectation_and_every_expectation_its_file() -> None:
    assert sorted(FAULTS) == sorted(path.stem for path in BROKEN.iterdir())


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_file_is_refused_at_the_place_with_the_advice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(BadInput) as refusal:
        load([f"{name}.yaml"])
    assert refusal.value.exit_code is ExitCode.BAD_INPUT
    found = [f"{fault.line}:{fault.column}: {fault.what}" for fault in refusal.value.faults]
    assert len(found) == len(FAULTS[name]), found
    for fault, expected in zip(found, FAULTS[name], strict=True):
        assert fault.startswith(expected)


def test_the_faults_of_all_files_come_in_one_refusal_sorted_by_place() -> None:
    with pytest.raises(BadInput) as refusal:
        load([BROKEN])
    places = {Path(fault.file).stem for fault in refusal.value.faults}
    assert places == set(FAULTS)
    assert list(refusal.value.faults) == sorted(refusal.value.faults)


@pytest.mark.parametrize("name", ["secret-key", "secret-with-leading-zero", "root-is-text", "endpoint"])
def test_what_may_be_a_secret_is_never_repeated(name: str) -> None:
    secrets = ("aHVzaA", "0123456", "c2VjcmV0IHRva2Vu", "x.example")
    with pytest.raises(BadInput) as refusal:
        load([BROKEN / f"{name}.yaml"])
    said = " ".join([str(refusal.value), *map(str, refusal.value.faults)])
    assert not [secret for secret in secrets if secret in said]
