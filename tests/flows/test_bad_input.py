"""Bad input, bad settings, a bad service: one clear error, the right exit code, nothing sent."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.sandbox.world import Behaviour
from tests.flows import started
from tests.flows.conftest import FINANCE, Run, bare, manifest
from tests.flows.serving import Served, serving
from tests.flows.skipping import TIME
from tests.unprivileged import own, reachable_folder, unprivileged

READ = "Read 1 file, 1 pool and 0 limits from pools.yaml.\n"
KEY, SECRET = sandbox.ACCESS_KEY, sandbox.SECRET_KEY


@contextmanager
def answering(answer: bytes, *, hang: bool = False) -> Iterator[str]:
    """A server that answers every connection with these bytes, or never."""
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if hang:
            await asyncio.sleep(3600)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(talk, sock=listener)
        await server.serve_forever()

    thread = threading.Thread(target=lambda: loop.run_until_complete(_quiet(serve())), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(5)
        loop.close()


async def _quiet(work: Coroutine[None, None, None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await work


@pytest.mark.parametrize(
    ("pool", "rule", "words"),
    [
        (
            "{name: nobody, disks: [{type: SSD, size: 100}]}",
            "pool-not-found",
            "no pool has the name 'nobody'",
        ),
        ("{name: twin, disks: [{type: SSD, size: 100}]}", "pool-ambiguous", "2 pools have the name 'twin'"),
        (
            "{name: call-centre, id: one, disks: [{type: SSD, size: 100}]}",
            "pool-not-found",
            "id one is the pool 'twin'",
        ),
        (
            "{name: finance-analysts, disks: [{id: no-such-disk, type: SSD, size: 100}, {type: SAS, size: 50}]}",
            "pin-not-live",
            "no-such-disk",
        ),
        (
            "{name: finance-analysts, disks: [{type: SSD, size: 90}, {type: SAS, size: 50}, {type: SAS, size: 200}]}",
            "replace-not-allowed",
            "its data lost",
        ),
        ("{name: finance-analysts, disks: [], allow_empty: true}", "", ""),
        ("{name: kiosk-lobby, disks: [{type: SAS, size: 20}]}", "prepaid", "yearly/monthly"),
        ("{name: lab-frozen, disks: [{type: SSD, size: 100}]}", "pool-state", "EXIST_FROZEN"),
        (
            "{name: contractors, apply_to: all, disks: [{type: SSD, size: 60}]}",
            "live-session",
            "connected user",
        ),
        ("{name: nameless, disks: [{type: SSD, size: 100}]}", "doubtful-reading", "has no id"),
    ],
)
def test_a_pool_that_must_not_change_is_blocked_with_the_reason_and_others_go_on(
    run: Run, tmp_path: Path, pool: str, rule: str, words: str
) -> None:
    world = sandbox.default_world()
    pools = world["projects"][sandbox.PROJECT_ID]["pools"]
    finance = next(each for each in pools.values() if each["name"] == "finance-analysts")
    for pool_id, name in (("one", "twin"), ("two", "twin"), ("nameless", "nameless")):
        pools[pool_id] = copy.deepcopy(finance)
        pools[pool_id]["id"], pools[pool_id]["name"] = pool_id, name
    pools["nameless"]["disks"][1]["id"] = ""
    studio = "{name: design-studio, disks: [{type: SSD, size: 200}, {type: SSD, size: 100}]}"
    with serving(world) as served:
        path = manifest(tmp_path, [pool, studio])
        planned = run("plan", str(path), env=served.env)
        if not rule:
            assert planned.code == 0
            return
        assert planned.code == 3
        assert f"! {rule}:" in planned.out
        assert words in planned.out
        assert f"{path}:4:5" in planned.out or f"{path}:4:" in planned.out
        applied = run("apply", str(path), "--auto-approve", env=served.env)
        assert applied.code == 3, applied.out + applied.err
        [entry] = served.posts()
        assert served.pool("design-studio")["id"] in entry["path"]


def test_the_credentials_project_must_be_the_manifests(run: Run, served: Served, tmp_path: Path) -> None:
    env = served.env | {"HUAWEICLOUD_SDK_PROJECT_ID": "f" * 32}
    refused = run("plan", str(manifest(tmp_path, [FINANCE])), env=env)
    assert refused.code == 9
    assert "must be equal" in refused.err


@pytest.mark.parametrize(
    ("env", "code", "words"),
    [
        ({"HUAWEICLOUD_SDK_SK": ""}, 9, "HUAWEICLOUD_SDK_SK"),
        ({"HUAWEICLOUD_SDK_SK": "wrong"}, 1, "401"),
        ({"HUAWEICLOUD_SDK_AK": "WRONG"}, 1, "401"),
        ({"RECONCILER_ENDPOINT": "http://example.com"}, 9, "https"),
        ({"RECONCILER_ENDPOINT": "ftp://127.0.0.1"}, 9, "RECONCILER_ENDPOINT"),
        ({"RECONCILER_CONCURRENCY": "many"}, 9, "RECONCILER_CONCURRENCY"),
    ],
)
def test_wrong_settings_are_named_without_a_secret(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str], code: int, words: str
) -> None:
    refused = run("plan", str(manifest(tmp_path, [FINANCE])), env=served.env | env)
    assert (refused.code, words in refused.err) == (code, True), refused.err
    assert SECRET not in refused.err + refused.out


def test_no_credentials_at_all_names_every_way_to_give_them(run: Run, tmp_path: Path) -> None:
    refused = run(
        "plan", str(manifest(tmp_path, [FINANCE])), env={"RECONCILER_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert refused.code == 1
    assert "HUAWEICLOUD_SDK_AK" in refused.err
    assert "--sandbox" in refused.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>", "HTML"),
        (
            b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"total_count": 1, "desk',
            "without sending complete message body",
        ),
    ],
)
def test_a_service_that_speaks_nonsense_is_named(run: Run, tmp_path: Path, answer: bytes, words: str) -> None:
    with answering(answer) as url:
        env = {"RECONCILER_ENDPOINT": url, "HUAWEICLOUD_SDK_AK": KEY, "HUAWEICLOUD_SDK_SK": SECRET}
        refused = run("plan", str(manifest(tmp_path, [FINANCE])), env=env)
    assert refused.code == 1
    assert words in refused.err


def test_an_endpoint_that_is_down_is_named(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        "RECONCILER_ENDPOINT": f"http://127.0.0.1:{port}",
        "HUAWEICLOUD_SDK_AK": KEY,
        "HUAWEICLOUD_SDK_SK": SECRET,
    }
    refused = run("plan", str(manifest(tmp_path, [FINANCE])), env=env)
    assert refused.code == 1
    assert "endpoint" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "--nonsense", "x"],
        ["nonsense"],
        ["plan", "missing.yaml"],
        ["apply", "x", "--wait-timeout", "1y"],
        ["schema", "--plan", "--apply"],
        ["schema", "--drift", "--history"],
        ["schema", "--plan", "--resolve", "--explain"],
    ],
)
def test_wrong_usage_is_exit_9(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--format", "xml"], "'--format': 'xml' is not one of 'text', 'json', 'markdown', 'html'."),
        (["apply", "x", "--parallelism", "65"], "'--parallelism': '65' is not a whole number from 1 to 64."),
        (["plan", "--limit-disks", "few"], "'--limit-disks': 'few' is not a whole number of at least 0."),
        (["plan", "--limit-disks", "-1"], "'--limit-disks': '-1' is not a whole number of at least 0."),
        (["plan", "--limit-disks", "1_0"], "'--limit-disks': '1_0' is not a whole number of at least 0."),
        (["plan", "--limit-disks", "١٠"], "'--limit-disks': '١٠' is not a whole number of at least 0."),
    ],
)
def test_a_value_that_no_flag_takes_is_said_in_plain_words(
    run: Run, arguments: list[str], words: str
) -> None:
    ran = run(*arguments)
    assert ran.code == 9
    assert ran.err.splitlines()[0] == f"Error: Invalid value for {words}"


@pytest.mark.parametrize(
    ("arguments", "words", "command"),
    [
        (["plan", "--limit-disk", "3"], "No such option '--limit-disk'. (Did you mean one of: ", "plan"),
        (["report", "--out"], "Option '--out' requires an argument.", "report"),
        (["report"], "Missing option '--out'.", "report"),
        (["init"], "Missing argument 'PLATFORM'. Choose from github, gitlab, ", "init"),
        (["show", "a", "b"], "Got unexpected extra argument (b)", "show"),
        (["validate", "x", "--quiet=1"], "Option '--quiet' does not take a value.", "validate"),
        (
            ["sandbox", "reset", "--sate", "x"],
            "No such option '--sate'. Did you mean '--state'?",
            "sandbox reset",
        ),
        (["sandbox", "serv"], "No such command 'serv'. Did you mean 'serve'?", "sandbox"),
        (["valdate", "x"], "No such command 'valdate'. Did you mean 'validate'?", ""),
    ],
)
def test_a_line_that_cannot_be_read_leads_to_the_help_of_its_command(
    run: Run, arguments: list[str], words: str, command: str
) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (9, "")
    assert ran.err.startswith(f"Error: {words}")
    assert ran.err.splitlines()[-1] == f"  see {f'reconciler {command}'.strip()} --help"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["", "--auto-approve"], "An argument is empty."),
        (["--auto-approve", "--", ""], "An argument is empty."),
        (["pools.yaml", "--auto-approve", "--journal", ""], "The value of '--journal' is empty."),
        (["pools.yaml", "--auto-approve", "--endpoint="], "The value of '--endpoint' is empty."),
        (["pools.yaml", "--auto-approve", "--log-file", ""], "The value of '--log-file' is empty."),
        (
            ["pools.yaml", "--auto-approve", "--run-group", "--sandbox"],
            "Option '--run-group' requires an argument, and '--sandbox' is a flag itself.",
        ),
        (
            ["pools.yaml", "--auto-approve", "--log-file", "--limit-disks=0", "--log-file", "log"],
            "Option '--log-file' requires an argument, and '--limit-disks' is a flag itself.",
        ),
        (
            ["--auto-approve", "--run-group", "--", "pools.yaml"],
            "Option '--run-group' requires an argument, and '--' is a flag itself.",
        ),
        (
            ["pools.yaml", "--auto-approve", "--run-group", "-q"],
            "Option '--run-group' requires an argument, and '-q' is a flag itself.",
        ),
    ],
)
def test_a_variable_of_a_script_that_nothing_set_never_changes_what_is_applied_or_where(
    run: Run, served: Served, tmp_path: Path, arguments: list[str], words: str
) -> None:
    manifest(tmp_path, [FINANCE])
    ran = run("apply", *arguments, env=served.env, cwd=tmp_path)
    assert (ran.code, ran.err.splitlines()[0]) == (9, f"Error: {words}")
    assert served.posts() == []


def test_a_value_behind_an_equals_sign_and_an_argument_behind_two_dashes_may_begin_with_dashes(
    run: Run, tmp_path: Path
) -> None:
    assert (
        "--pool '--sandbox' fits no declared pool"
        in run("plan", str(manifest(tmp_path, [FINANCE])), "--pool=--sandbox").err
    )
    manifest(tmp_path, [FINANCE], name="--quiet")
    assert run("validate", "--", "--quiet", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("arguments", "as_json"),
    [
        (["--format", "text", "--format=json"], True),
        (["--format=json", "--format", "text"], False),
        (["--", "--format", "json"], False),
    ],
)
def test_an_error_is_json_where_the_result_would_be(
    run: Run, tmp_path: Path, arguments: list[str], as_json: bool
) -> None:
    ran = run("validate", "no-such-file", *arguments, cwd=tmp_path)
    assert (ran.code, ran.out.startswith("{")) == (9, as_json)


def test_no_part_of_an_address_is_shown_where_it_is_misplaced(run: Run) -> None:
    for address in ("slack://tokenA/tokenBBBB", "https://hooks.test/tokenA/tokenBBBB"):
        for line in (
            [address],
            ["show", "a", address],
            ["drift", address],
            ["drift", f"RECONCILER_WEBHOOK={address}"],
            ["drift", f"--webhook{address}"],
            ["drift", f"--webhook:{address}?x=y"],
            ["drift", "--format", address],
        ):
            ran = run(*line)
            assert (ran.code, "token" in ran.out + ran.err) == (9, False), ran.err


def test_a_line_that_cannot_be_read_repeats_no_flag_of_the_line_before(run: Run) -> None:
    assert run("history", "--sandbox").code == 0
    assert run("report").err.splitlines()[-1] == "  see reconciler report --help"


@pytest.mark.parametrize("arguments", [[], ["sandbox"]])
def test_without_a_command_the_help_is_shown_as_what_it_is(run: Run, arguments: list[str]) -> None:
    ran, helped = run(*arguments), run(*arguments, "--help")
    assert (ran.code, ran.out, ran.err) == (9, "", helped.out)


def shell(line: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A line of bash in which ``R`` stands for the command line as users start it, and ``F`` for a fork of it."""
    function = (
        f'R() {{ {sys.executable} -m reconciler "$@"; }}; F() {{ {shlex.join(started.command())} "$@"; }}'
    )
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{function}; {line}"],
        env=bare(folder) | dict(env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def unexpected(told: str) -> list[str]:
    """What stands on stderr besides the one line about the journal that these tests do not have."""
    return [line for line in told.splitlines() if not line.startswith("There is no journal at ")]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("R plan pools.yaml | true", 0, READ),
        ("F plan --detailed-exitcode pools.yaml | head -1", 2, READ),
        ("R plan --detailed-exitcode pools.yaml --format json >&-", 2, READ),
        ("R version | true", 0, ""),
        ("R --help | true", 0, ""),
        ("R plan no-such-file.yaml >&- 2>&-", 9, ""),
        ("F plan no-such-file.yaml 2>&1 | true", 9, ""),
    ],
)
def test_a_reader_that_goes_away_changes_neither_exit_code_nor_stderr(
    served: Served, tmp_path: Path, line: str, code: int, said: str
) -> None:
    manifest(tmp_path, [FINANCE])
    done = shell(line, tmp_path, served.env)
    assert (done.returncode, unexpected(done.stderr)) == (code, said.splitlines())


@pytest.mark.parametrize(("program", "behaviour", "code"), [("R", {}, 0), ("F", {"delete": "fail"}, 6)])
def test_an_apply_whose_readers_go_away_goes_on_to_its_own_end(
    run: Run, tmp_path: Path, program: str, behaviour: Behaviour, code: int
) -> None:
    world = copy.deepcopy(sandbox.default_world())
    with serving(world) as served:
        served.pool("finance-analysts")["behaviour"] = behaviour
        manifest(tmp_path, [FINANCE])
        with started.skipping(TIME) as skipping:
            line = f"{program} apply --auto-approve pools.yaml 2>&1 | true"
            done = shell(line, tmp_path, served.env | skipping)
        assert (done.returncode, len(served.posts())) == (code, 1)
        listed = run("history", "--format", "json", env=served.env)
        assert json.loads(listed.out)["runs"][0]["exit_code"] == code


def test_a_result_that_does_not_fit_on_the_disk_is_told(served: Served, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    done = shell("F plan pools.yaml > /dev/full", tmp_path, served.env)
    assert done.returncode == 1
    assert unexpected(done.stderr) == [
        READ.strip(),
        "Error: the result could not be written: No space left on device",
    ]


def test_an_ascii_terminal_of_forty_columns_gets_the_whole_plan(
    process: Run, served: Served, tmp_path: Path
) -> None:
    env = served.env | {"LC_ALL": "C", "COLUMNS": "40", "PYTHONIOENCODING": "ascii"}
    planned = process("plan", str(manifest(tmp_path, [FINANCE])), env=env)
    assert planned.code == 0
    assert "Plan: 0 to add, 0 to change, 1 to destroy." in planned.out


def test_a_place_that_cannot_be_written_is_named(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    missing = tmp_path / "no" / "such" / "plan.bin"
    assert run("plan", str(path), "--out", str(missing), env=served.env).code == 9
    assert run("plan", str(path), "--out-html", str(missing), env=served.env).code == 9


def test_a_read_only_folder_for_the_journal_is_exit_10(run: Run, served: Served) -> None:
    with reachable_folder() as folder:
        path, locked = manifest(folder, [FINANCE]), folder / "locked"
        apply = ("apply", str(path), "--auto-approve")
        env = served.env | {"HOME": str(folder), "RECONCILER_STATE_FOLDER": str(folder)}
        assert run(*apply, env=env, cwd=folder).code == 0  # imports what nobody may be unable to read
        locked.mkdir(mode=0o500)
        own(locked)
        with unprivileged():
            assert run(*apply, env=env | {"RECONCILER_STATE_FOLDER": str(locked)}, cwd=folder).code == 10


def test_a_manifest_with_an_unusual_name_is_looked_at_again_too(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE], name="プール\u3000一覧.yaml")
    saved = str(tmp_path / "plan.bin")
    assert run("plan", str(path), "--out", saved, env=served.env).code == 0
    path.write_text(path.read_text() + "# changed\n")
    stale = run("apply", saved, env=served.env)
    assert stale.code == 4
    assert "changed since the plan was made" in stale.err
    assert served.posts() == []


def test_neither_devices_nor_pipes_are_read_as_plans_or_written_over(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path, pipe = str(manifest(tmp_path, [FINANCE])), tmp_path / "pipe"
    os.mkfifo(pipe)
    assert run("apply", str(pipe), env=served.env).code == 9
    assert run("show", str(pipe)).code == 9
    for place in (str(pipe), "/dev/stdout", "/dev/null"):
        refused = run("plan", path, "--out", place, env=served.env)
        assert (refused.code, "not a regular file" in refused.err) == (9, True)
        assert run("drift", path, "--prometheus", place, env=served.env).code == 9
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_shared_memory_is_a_place_like_any_other(run: Run, served: Served, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert run("plan", path, "--out", f"{folder}/plan.bin", env=served.env).code == 0


def test_one_file_for_two_outputs_is_refused(run: Run, served: Served, tmp_path: Path) -> None:
    path, same = str(manifest(tmp_path, [FINANCE])), str(tmp_path / "same")
    assert run("plan", path, "--out", same, "--out-json", same, env=served.env).code == 9
    assert not Path(same).exists()


def test_a_report_of_a_thousand_years_looks_back_a_hundred(run: Run, served: Served, tmp_path: Path) -> None:
    run("drift", str(manifest(tmp_path, [FINANCE])), env=served.env)
    told = run("report", "--out", str(tmp_path / "r.html"), "--since", "999999d", env=served.env)
    assert (told.code, "1 pool with drift" in told.err) == (0, True)
