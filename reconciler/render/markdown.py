"""Renders a plan as one review comment in Markdown, for GitHub and GitLab, with totals and lost data first.

The CI workflow posts it; ``github`` renders the job summary and the annotations.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence

from reconciler.model import Action
from reconciler.planning.change import Change
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.render import review, words
from reconciler.render.line import count
from reconciler.safe_text import LONGEST, safe_text

MARKER = "<!-- reconciler-plan -->"
"""First line of every comment; a workflow uses it to find and update its earlier comment."""
LIMIT = 60_000
"""Characters; GitHub refuses a comment above 65,536, and the workflow may add a line of its own."""
SHOWN_USERS = 20
NAME_LENGTH = 120

# One piece of a sentence: a word or a text in braces, with the punctuation around it.
_PIECE = re.compile(r"(?P<open>\(*)(?P<word>\{[^{}]*\}|\S*?)(?P<close>[).,;]*)(?:\s+|$)")
# Words that no Markdown dialect changes: letters, and numbers too short to become a link to a commit.
_PLAIN = re.compile(r"(?:[^\W\d_]+(?:['/-][^\W\d_]+)*|\d{1,6})[:?]?")
_COLUMNS = "| | disk | type | before | after | copies | lost | why |\n|---|---|---|--:|--:|--:|--:|---|\n"


def plan_markdown(plan: Plan, limit: int = LIMIT, apply: str = words.APPLY) -> str:
    """The plan as one comment of at most ``limit`` characters, starting with ``MARKER``.

    ``apply`` is how the command begins that applies it. Whole findings and whole pools that do not fit are left out,
    and their number is stated.
    """
    head, foot = _head(plan), _foot(plan, apply)
    room = limit - len(head) - len(foot)
    losses, hidden = _losses(plan, room)
    if hidden:
        return head + losses + foot
    # A loss is never left out: before anything else is cut, each pool that loses disks has its line.
    spare = room - len(losses)
    allowed = fitting(_allowed(plan), spare // 3, "permission")
    changed = fitting(_changed(plan), spare // 3, "manifest change")
    spare -= len(allowed) + len(changed)
    findings = fitting(_findings(plan), spare // 2, "finding")
    spare -= len(findings)
    details = _pools(plan)
    if sum(map(len, details)) <= spare + len(losses):
        return head + allowed + changed + findings + "".join(details) + foot
    return head + allowed + changed + losses + findings + fitting(details, spare, "pool") + foot


def hidden_losses(plan: Plan, limit: int = LIMIT, apply: str = words.APPLY) -> int:
    """How many pools that lose disks such a comment cannot even name; it must not be approved."""
    return _losses(plan, limit - len(_head(plan)) - len(_foot(plan, apply)))[1]


def _losses(plan: Plan, room: int) -> tuple[str, int]:
    """One line for each pool that loses disks, and how many of them do not fit into ``room`` characters."""
    several = review.several(plan)
    lines = [_loss_line(pool, several=several) for pool in plan.pools if pool.loss.disks]
    heading = "Pools that lose disks:\n\n"
    if not lines:
        return "", 0
    if len(heading) + sum(map(len, lines)) + 1 <= room:
        return f"{heading}{''.join(lines)}\n", 0
    fitted = _fit(lines, room - len(heading) - 200)
    hidden = len(lines) - len(fitted)
    warning = f"**{hidden} more pools lose disks than fit into this comment. Do not approve it.**\n\n"
    return f"{warning}{heading}{''.join(fitted)}\n", hidden


def _loss_line(pool: PoolPlan, *, several: bool) -> str:
    where = f"{code(str(pool.target))} " if several else ""
    return f"- {where}{code(pool.label)}: {words.pool_summary(pool)}\n"


def _fit(lines: Sequence[str], room: int) -> list[str]:
    """As many whole lines as fit."""
    taken: list[str] = []
    for line in lines:
        if len(line) > room:
            break
        room -= len(line)
        taken.append(line)
    return taken


def code(text: str, most: int = NAME_LENGTH) -> str:
    """``text`` as a code span, the only place where Markdown, mentions and links are all inactive.

    A backtick would end the span and a pipe the table cell, and dialects disagree on how to escape them inside,
    so both are written as ``\\x60`` and ``\\x7c``.
    """
    escaped = safe_text(text).replace("`", "\\x60").replace("|", "\\x7c")
    return f"`{words.shortened(escaped, most)}`" if escaped.strip() else "`(empty)`"


def prose(text: str) -> str:
    """``text`` as a sentence with everything but plain words in code spans."""
    pieces: list[str] = []
    for piece in _PIECE.finditer(safe_text(text)):
        word = piece["word"]
        if not piece[0].strip():
            continue
        if word and not _PLAIN.fullmatch(word):
            word = code(word, LONGEST)
        pieces.append(f"{piece['open']}{word}{piece['close']}")
    return " ".join(pieces).replace("` `", " ")  # join adjacent spans; no word contains a backtick


def fitting(sections: Sequence[str], room: int, what: str) -> str:
    """As many whole sections as fit into ``room`` characters, and the number of those left out."""
    spare = len(_more(len(sections), what))
    taken, used = 0, 0
    for index, section in enumerate(sections):
        rest = 0 if index == len(sections) - 1 else spare
        if used + len(section) + rest > room:
            break
        taken, used = index + 1, used + len(section)
    left = len(sections) - taken
    return "".join(sections[:taken]) + (_more(left, what) if left else "")


def _more(number: int, what: str) -> str:
    return f"\n**{count(number, f'more {what}')} not shown.** The complete plan is in the run's output.\n\n"


def _head(plan: Plan) -> str:
    lines = [MARKER, f"## {words.headline(plan)}", ""]
    for target in review.targets(plan):
        lines += [f"Target: {prose(target)}", ""]
    for sentence in words.acting(plan.services):
        lines += [prose(sentence), ""]
    if partly := review.selected(plan):
        lines += [prose(partly), ""]
    for name in sorted({service.name for service in plan.services if service.sandbox}):
        sandbox = code(name.removeprefix("sandbox:"))
        lines += [f"> **SANDBOX** {sandbox}: a simulated service; nothing real is touched.", ""]
    if plan.has_changes and plan.failures:
        lines += [f"**{count(len(plan.failures), 'target')} could not be planned; see below.**", ""]
    destroyed = words.destruction(plan)
    if destroyed:
        lines += [f"**{destroyed}**", ""]
    if waiting := words.marked(plan):
        lines += [prose(waiting), ""]
    for blocking in (words.blocked(plan), words.held_back(plan)):
        if blocking:
            lines += [f"**{blocking}**", ""]
    if left := words.left_behind(plan):
        lines += [left, ""]
    differing = words.inconsistent(plan)  # numbers only; which ones they are stands in the text and the JSON
    if differing:
        lines += [differing, ""]
    return "\n".join(lines) + "\n"


def _allowed(plan: Plan) -> list[str]:
    """What is allowed beyond the defaults, one line each."""
    return _listed(
        review.ALLOWED,
        [
            f"- {_sentence(each, as_code=True)}, set at {code(each.source, LONGEST)}\n"
            for each in review.allowed(plan)
        ],
    )


def _changed(plan: Plan) -> list[str]:
    """What the pull request changes of it, what widens first."""
    compared = review.changed(plan)
    if compared is None:
        return []
    lines = [
        f"- {'**widens**: ' if each.widens else ''}{_sentence(each)}, at {code(each.source, LONGEST)}\n"
        for each in compared
    ]
    return _listed(review.CHANGED, lines or [f"{review.NOTHING_CHANGED}\n"])


def _listed(heading: str, lines: list[str]) -> list[str]:
    """The lines with their heading before the first and a gap after the last; nothing without a line."""
    if lines:
        lines[0] = f"**{heading}**\n\n{lines[0]}"
        lines[-1] += "\n"
    return lines


def _sentence(each: review.Sentence, *, as_code: bool = False) -> str:
    whose = f"{code(each.whose)}: " if each.whose else ""
    note = f" ({prose(each.note)})" if each.note else ""
    return f"{whose}{code(each.what, LONGEST) if as_code else prose(each.what)}{note}"


def _findings(plan: Plan) -> list[str]:
    weights = (Severity.BLOCK, Severity.WARN)
    found = [each for severity in weights for each in plan.all_findings if each.severity is severity]
    failed = [
        f"- **failed** {code(str(each.target))}: {prose(each.message)}\n"
        + (f"  - what to do: {prose(each.hint)}\n" if each.hint else "")
        for each in plan.failures
    ]
    sections = failed + [_finding(each) for each in found]
    if sections:
        sections[-1] += "\n"
    return sections


def _finding(finding: Finding) -> str:
    weight = "blocked" if finding.severity is Severity.BLOCK else "warning"
    where = f" {code(finding.pool)}:" if finding.pool else ""
    lines = [f"- **{weight}** {code(finding.rule)}{where} {prose(finding.message)}"]
    if finding.source:
        lines.append(f"  - set at: {code(finding.source, LONGEST)}")
    if finding.allow:
        lines.append(f"  - to allow: {prose(finding.allow)}")
    return "\n".join(lines) + "\n"


def _pools(plan: Plan) -> list[str]:
    shown = [pool for pool in plan.pools if pool.drift or pool.ties]
    several = review.several(plan)
    return [_pool(pool, several=several) for pool in sorted(shown, key=lambda pool: not pool.loss.disks)]


def _pool(pool: PoolPlan, *, several: bool) -> str:
    where = f"<code>{html.escape(safe_text(str(pool.target)))}</code> " if several else ""
    name = html.escape(words.shortened(safe_text(pool.label), NAME_LENGTH)) or "(empty)"
    rows = [*(_row(pool, change) for change in words.settled(pool)), *_candidates(pool)]
    notes = "".join(f"{note}\n\n" for note in _notes(pool))
    return (
        f"<details>\n<summary>{where}<code>{name}</code>: {words.pool_summary(pool)}</summary>\n\n"
        f"{_COLUMNS}{''.join(rows)}\n{notes}</details>\n\n"
    )


def _row(pool: PoolPlan, change: Change) -> str:
    before, after = words.sides(change)
    kind = " → ".join(dict.fromkeys(code(side.type) for side in (before, after) if side))
    loss = words.disk_loss(pool, change)
    symbol = words.SYMBOLS[change.action].strip()
    why = "; ".join([words.reason(change), *(prose(note) for note in words.drift_notes(change))])
    if change.waits:
        why += f"; {prose(words.waits(change.waits))}"
    elif change.action is not Action.KEEP and not change.carried_out:
        why += "; shown only"
    if told := words.told(pool, change):
        why += f"; {prose(told)}"
    if backed := words.backed(loss):
        why += f"; {prose(backed)}"
    cells = (
        f"`{symbol}`" if symbol else "",
        code(change.live.id) if change.live and change.live.id else "new" if not change.live else "no id",
        kind,
        f"{before.size} GB" if before else "",
        f"{after.size} GB" if after else "",
        str(loss.copies) if loss else "",
        f"{loss.gigabytes} GB" if loss else "",
        why,
    )
    return _line(cells)


def _candidates(pool: PoolPlan) -> Iterator[str]:
    for disk in words.candidates(pool):
        known = words.known(pool, disk)
        why = f"tie: {f'{known}; ' if known else ''}to keep it, pin it: {code(words.pin(disk), LONGEST)}"
        yield _line(("`?`", code(disk.id), code(disk.type), f"{disk.size} GB", "", "", "", why))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _notes(pool: PoolPlan) -> Iterator[str]:
    if pool.loss.users:
        yield f"**Users who lose data:** {words.named(pool.loss.users, SHOWN_USERS, code)}"
    note = words.reach(pool)
    if note:
        yield note
    yield from words.particulars(pool)
    if line := words.manage_line(pool):
        yield f"To carry out what is only shown, write {code(line)} into the entry"
    yield f"Declared at {code(str(pool.desired.at), LONGEST)}"


def _foot(plan: Plan, apply: str) -> str:
    times = f"created {plan.created:%Y-%m-%d %H:%M} UTC, expires {plan.expires:%Y-%m-%d %H:%M} UTC"
    lines = [f"<sub>reconciler {plan.tool_version}, {times}</sub>", ""]
    if plan.has_changes and not plan.run_blocked:
        approve = ["Apply exactly this plan:", "", "```", words.approval(plan, apply), "```", ""]
        return "\n".join(approve + lines)
    if plan.has_changes:
        return "\n".join([f"Digest: `{plan.digest}`", "", *lines])
    return "\n".join(lines)
