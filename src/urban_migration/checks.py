"""Runs the suites of ``expectations/``: what must hold of a table, and what happens if it does not.

A suite holds expectations of Great Expectations on the rows of one table, and SQL whose result
rows are held to expectations too (sums, keys, continuity).  Each has an action: ``block`` the
release, ``warn`` its readers, or ``quarantine`` the row.  This module judges and says why; it
neither removes rows nor stops a build, and it imports Great Expectations only where it runs it.
"""

from __future__ import annotations

import atexit
import dataclasses
import gc
import importlib
import json
import math
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from urban_migration.errors import ProductError
from urban_migration.sources.source import PROVENANCE

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

Action = Literal["block", "warn", "quarantine"]

AT_MOST_PCT: Final = 1.0
"""Rows that a rule may quarantine, per cent; beyond it a file is broken, not a row."""
EXAMPLES: Final = 5
NO_ROW: Final = ("expect_table_row_count_to_equal", {"value": 0})
"""The expectation of SQL that looks for exceptions to a law."""


UNUSED: Final = frozenset({"altair", "scipy.stats"})
"""Charts and distributions: half of what Great Expectations takes to import, and never used."""
OPTIONAL: Final = "sqlalchemy"
"""For checks inside databases, a tenth of the rest; Great Expectations does without it."""
_IMPORTING = threading.Lock()


def library_is_here() -> bool:
    """Whether Great Expectations is imported."""
    return "great_expectations" in sys.modules


def import_library() -> None:
    """Import Great Expectations, once and by one thread: two at a time break its import.

    What it imports without need is loaded if ever used, or not at all, and garbage is not looked
    for meanwhile.
    """
    with _IMPORTING:
        if library_is_here():
            return
        finder, collecting = _Lazily(), gc.isenabled()
        sys.meta_path.insert(0, finder)
        gc.disable()
        try:
            importlib.import_module("great_expectations")
            gc.freeze()  # half a million objects that stay are not looked through over and over
            atexit.register(gc.unfreeze)
        finally:
            sys.meta_path.remove(finder)
            if collecting:
                gc.enable()


class _Lazily(MetaPathFinder):
    """Finds the unused modules as ever, and has them loaded at the first look into them.

    The optional one is not found, by this thread only: others may import it meanwhile.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == OPTIONAL and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if fullname in UNUSED else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


class SuiteError(ProductError):
    """A suite cannot be read, or a rule of it cannot be evaluated: nothing is known of the data."""


# ------------------------------------------------------------------ suites


@dataclass(frozen=True)
class Rule:
    """One expectation with its action; ``reason`` is for the reader of the report."""

    rule: str
    type: str
    kwargs: Mapping[str, Any]
    action: Action
    reason: str
    at_most_pct: float = AT_MOST_PCT

    def columns(self) -> list[str]:
        """The columns that the expectation looks at."""
        names = [
            self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs
        ]
        return [*names, *self.kwargs.get("column_list", ())]


@dataclass(frozen=True)
class Derived:
    """SQL and what is expected of each row (or of the number of rows) that it returns."""

    rule: str
    sql: str
    rows: tuple[Rule, ...]


@dataclass(frozen=True)
class Suite:
    """Everything expected of one table; ``file`` is where it is written down."""

    table: str
    file: str
    about: str
    rows: tuple[Rule, ...]
    derived: tuple[Derived, ...]


def load_suite(folder: Path, table: str, *, extract: bool) -> Suite:
    """Read ``<folder>/<table>.yaml``, with the bands of the bundled extract where ``extract``.

    A table without a suite, an unknown key and a missing one are each a :class:`SuiteError`.
    """
    path = folder / f"{table}.yaml"
    file = f"{folder.name}/{path.name}"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SuiteError(f"{file}: table {table} has no suite; write this file") from None
    return _suite(text, file, table, extract)


@cache
def _suite(text: str, file: str, table: str, extract: bool) -> Suite:
    """A suite from its text, taken apart once."""
    import yaml

    try:
        entry = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise SuiteError(f"{file}: not valid YAML ({error})") from None
    entry = _keys(entry, file, need={"about"}, may={"rows", "derived"})
    rows = _rules(entry.get("rows"), f"{file}, rows", extract)
    derived = _derived(entry.get("derived"), f"{file}, derived", extract)
    names = [rule.rule for rule in rows] + [query.rule for query in derived]
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(f"{file}: two rules are called {name!r}")
    return Suite(table, file, _sentence(entry["about"]), rows, derived)


def _sentence(text: object) -> str:
    return " ".join(str(text).split())


def _keys(entry: object, place: str, need: set[str], may: set[str]) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise SuiteError(f"{place}: expected {', '.join(sorted(need))}; found {entry!r}")
    if unknown := entry.keys() - need - may:
        raise SuiteError(f"{place}: unknown key {min(map(str, unknown))!r}")
    if missing := need - entry.keys():
        raise SuiteError(f"{place}: {min(missing)!r} is missing")
    return entry


def _list(entries: object, place: str) -> list[Any]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise SuiteError(f"{place}: expected a list")
    return entries


def _rules(entries: object, place: str, extract: bool, name: str | None = None) -> tuple[Rule, ...]:
    """The rules of a list; those of derived rows carry the name of their query."""
    need = {"type", "action", "reason"} | (set() if name else {"rule"})
    rules = []
    for number, entry in enumerate(_list(entries, place), 1):
        here = f"{place}, entry {number}"
        entry = _keys(entry, here, need, may={"kwargs", "bundled", "at_most_pct"})
        kwargs, bundled = entry.get("kwargs") or {}, entry.get("bundled", {}) if extract else {}
        if entry["action"] not in get_args(Action):
            raise SuiteError(f"{here}: {entry['action']!r} is no action ({_or(get_args(Action))})")
        if name and entry["action"] == "quarantine":
            raise SuiteError(f"{here}: SQL may block or warn; only a table's row is quarantined")
        if bundled == "skip":
            continue
        if not (isinstance(kwargs, dict) and isinstance(bundled, dict)):
            raise SuiteError(f"{here}: 'kwargs' and 'bundled' hold named values")
        rules.append(
            Rule(
                rule=name or entry["rule"],
                type=entry["type"],
                kwargs={**kwargs, **bundled},
                action=entry["action"],
                reason=_sentence(entry["reason"]),
                at_most_pct=entry.get("at_most_pct", AT_MOST_PCT),
            )
        )
    return tuple(rules)


def _derived(entries: object, place: str, extract: bool) -> tuple[Derived, ...]:
    queries = []
    for number, entry in enumerate(_list(entries, place), 1):
        here = f"{place}, entry {number}"
        entry = _keys(entry, here, need={"rule", "sql", "rows"}, may={"bundled"})
        if entry.get("bundled", "skip") != "skip":
            raise SuiteError(f"{here}: 'bundled' of a query can only be 'skip'")
        rules = _rules(entry["rows"], f"{here} ({entry['rule']}), rows", extract, entry["rule"])
        if rules and not (extract and "bundled" in entry):
            queries.append(Derived(entry["rule"], entry["sql"].strip(), rules))
    return tuple(queries)


def _or(words: Iterable[object]) -> str:
    return " or ".join(map(str, words))


# ------------------------------------------------------------------ findings


@dataclass(frozen=True)
class Finding:
    """What one rule found in one table.

    ``action`` is what a failure means; that of a quarantine that hit too many rows is ``block``.
    ``unexpected`` counts the rows that failed, and ``examples`` places the first few.
    """

    table: str
    rule: str
    action: Action
    success: bool
    statement: str
    observed: str | None = None
    unexpected: int = 0
    examples: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The finding as an error says it: table, what should hold, what was found and where."""
        observed = f" Found: {self.observed}." if self.observed else ""
        more = self.unexpected - len(self.examples)
        places = [*self.examples, *([f"and {more:,} more"] if self.examples and more > 0 else [])]
        return "\n  ".join([f"{self.table} ({self.rule}): {self.statement}.{observed}", *places])


@dataclass(frozen=True)
class Withheld:
    """A row of a source table that a rule keeps back; ``index`` counts in the whole table."""

    table: str
    index: int
    rule: str
    column: str | None
    value: str | None
    reason: str


def blocked(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that forbid a release."""
    return [finding for finding in findings if finding.action == "block" and not finding.success]


def findings_to_json(findings: Sequence[Finding], withheld: Sequence[Withheld] = ()) -> str:
    """Results as text, to be kept by the content that they are about."""
    return json.dumps(
        {
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "withheld": [dataclasses.asdict(row) for row in withheld],
        },
        ensure_ascii=False,
    )


def findings_from_json(text: str) -> tuple[list[Finding], list[Withheld]]:
    """The results that :func:`findings_to_json` wrote."""
    kept = json.loads(text)
    return (
        [Finding(**{**one, "examples": tuple(one["examples"])}) for one in kept["findings"]],
        [Withheld(**one) for one in kept["withheld"]],
    )


# ------------------------------------------------------------------ checks


def check_rows(suite: Suite, table: pa.Table) -> tuple[list[Finding], list[Withheld]]:
    """Hold the rows of a table to the suite's row expectations.

    Rows of a kind that is declared as ignored are left out; the indices of withheld rows still
    count in the whole table.
    """
    import numpy as np

    indices = np.arange(table.num_rows)
    if "ignored" in table.column_names:
        indices = np.flatnonzero(table["ignored"].is_null().to_numpy())
    frame = _frame(table, suite.rows)
    if len(indices) < len(frame):
        frame = frame.iloc[indices].reset_index(drop=True)
    findings, withheld = [], []
    for rule, outcome in zip(suite.rows, _evaluate(suite, suite.rows, frame), strict=True):
        failed = indices[np.asarray(outcome.rows, dtype=np.int64)]
        examples = [_place(table, index, rule) for index in failed[:EXAMPLES]]
        finding = _finding(suite.table, rule, outcome, examples)
        if rule.action == "quarantine" and not outcome.success:
            finding = _quarantine(finding, rule, len(failed), len(indices))
            withheld += [] if finding.action == "block" else _withhold(suite, rule, table, failed)
        findings.append(finding)
    return findings, withheld


def check_derived(suite: Suite, con: duckdb.DuckDBPyConnection) -> list[Finding]:
    """Run the suite's SQL and hold what it returns to its expectations."""
    import duckdb
    import pyarrow as pa

    findings = []
    for query in suite.derived:
        try:
            result: pa.Table = con.sql(_in_order(query.sql)).to_arrow_table()
        except duckdb.Error as error:
            raise SuiteError(f"{suite.file}, {query.rule}: the SQL failed ({error})") from error
        if all(_looks_for_exceptions(rule) for rule in query.rows):  # most: nothing to evaluate
            outcomes = [_Outcome(result.num_rows == 0, None)] * len(query.rows)
        else:
            outcomes = _evaluate(suite, query.rows, _frame(result, query.rows))
        for rule, outcome in zip(query.rows, outcomes, strict=True):
            rows = outcome.rows
            if _looks_for_exceptions(rule):
                rows = range(result.num_rows)
                outcome = dataclasses.replace(outcome, observed=_exceptions(result.num_rows))
            first = pa.array(rows[:EXAMPLES], pa.int64())
            places = [_describe(row) for row in result.take(first).to_pylist()]
            findings.append(_finding(suite.table, rule, outcome, places, len(rows)))
    return findings


def _in_order(sql: str) -> str:
    """A query whose first rows are the same at every run, so that examples are."""
    ordered = re.search(r"\border\s+by\b", sql, flags=re.IGNORECASE)
    return sql if ordered else f"from ({sql}\n) order by all"


def _frame(table: pa.Table, rules: Sequence[Rule]) -> pd.DataFrame:
    """What the rules look at, in the two number types over which expectations are vectorised."""
    import pandas as pd
    import pyarrow as pa

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_decimal(kind):  # what DuckDB gives for a sum of integers
            return pa.float64()
        return pa.int64() if pa.types.is_integer(kind) else kind

    wanted = {name for rule in rules for name in rule.columns()}
    used = table.select([name for name in table.column_names if name in wanted])
    if not used.num_columns:
        return pd.DataFrame(index=pd.RangeIndex(table.num_rows))
    types = pa.schema((field.name, plain(field.type)) for field in used.schema)
    frame: pd.DataFrame = used.cast(types).to_pandas()
    return frame


def _looks_for_exceptions(rule: Rule) -> bool:
    return (rule.type, rule.kwargs) == NO_ROW


def _exceptions(count: int) -> str | None:
    return f"{count:,} exception{'' if count == 1 else 's'}" if count else None


@dataclass(frozen=True)
class _Outcome:
    """Whether an expectation held, what it measured, and the positions of the rows that failed."""

    success: bool
    observed: str | None
    rows: Sequence[int] = ()


def _finding(
    table: str,
    rule: Rule,
    outcome: _Outcome,
    examples: Sequence[str],
    unexpected: int | None = None,
) -> Finding:
    return Finding(
        table=table,
        rule=rule.rule,
        action=rule.action,
        success=outcome.success,
        statement=_statement(rule),
        observed=outcome.observed,
        unexpected=len(outcome.rows) if unexpected is None else unexpected,
        examples=tuple(examples),
    )


def _quarantine(finding: Finding, rule: Rule, failed: int, rows: int) -> Finding:
    """A failed quarantine, which blocks where it would keep back more than a few rows."""
    if failed <= rows * rule.at_most_pct / 100:
        return finding
    limit = f"more than {rule.at_most_pct:g} % of the rows: a file is broken, not a row"
    return dataclasses.replace(finding, action="block", statement=f"{finding.statement}; {limit}")


def _withhold(suite: Suite, rule: Rule, table: pa.Table, failed: Iterable[int]) -> list[Withheld]:
    column = rule.kwargs.get("column")
    return [
        Withheld(
            table=suite.table,
            index=int(index),
            rule=rule.rule,
            column=column,
            value=_text(table[column][int(index)].as_py()) if column else None,
            reason=rule.reason,
        )
        for index in failed
    ]


# ------------------------------------------------------------------ Great Expectations


def _evaluate(suite: Suite, rules: Sequence[Rule], frame: pd.DataFrame) -> list[_Outcome]:
    """One outcome per rule: quickly for all, and again with the rows for those that failed."""
    if not rules:
        return []
    quick = _run(suite, rules, frame, "BOOLEAN_ONLY")
    failed = [at for at, result in enumerate(quick) if not result["success"]]
    full = _run(suite, [rules[at] for at in failed], frame, "COMPLETE") if failed else []
    results = dict(enumerate(quick)) | dict(zip(failed, full, strict=True))
    outcomes = []
    for at in range(len(rules)):
        result = results[at]
        rows = result.get("unexpected_index_list") or ()
        observed = result.get("observed_value")
        if rows:
            observed = f"{len(rows):,} of {len(frame):,} rows"
        outcomes.append(
            _Outcome(result["success"], None if observed is None else _text(observed), rows)
        )
    return outcomes


def _run(
    suite: Suite, rules: Sequence[Rule], frame: pd.DataFrame, result_format: str
) -> list[dict[str, Any]]:
    """Great Expectations' results by rule, with ``success``; what raised is a SuiteError.

    A validator without a data context: it keeps nothing, sends nothing and costs a tenth of one
    with context, data source and batch request.  Aggregates always say what they observed.
    """
    import_library()
    from great_expectations.core.batch import Batch
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import get_expectation_impl
    from great_expectations.validator.validator import Validator

    by_row = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    batch = Batch(data=frame)  # type: ignore[arg-type]
    validator = Validator(execution_engine=PandasExecutionEngine(), batches=[batch])
    validator.metrics_calculator.show_progress_bars = False
    configurations = []
    for at, rule in enumerate(rules):
        try:
            kind = get_expectation_impl(rule.type)
            kind(**rule.kwargs)
        except Exception as error:  # Great Expectations and pydantic raise each their own
            what = " ".join(str(error).split())
            raise SuiteError(f"{suite.file}, {rule.rule}: {rule.type}: {what}") from error
        detail = result_format if issubclass(kind, by_row) else "BASIC"
        kwargs = {**rule.kwargs, "result_format": detail}
        configurations.append(ExpectationConfiguration(rule.type, kwargs, meta={"at": at}))
    results: list[dict[str, Any]] = [{}] * len(rules)
    for outcome in validator.graph_validate(configurations=configurations):
        assert outcome.expectation_config is not None
        at = outcome.expectation_config.meta["at"]
        if raised := _raised(outcome.exception_info):
            where = f"{suite.file}, {rules[at].rule}: {rules[at].type}"
            raise SuiteError(f"{where} could not be evaluated ({raised})")
        results[at] = {**outcome.result, "success": bool(outcome.success)}
    return results


def _raised(info: Mapping[str, Any] | None) -> str | None:
    """What a metric raised; such a result otherwise looks like a failed expectation."""
    if not info or info.get("raised_exception") is False:
        return None
    causes = [info] if "exception_message" in info else list(info.values())
    return "; ".join(dict.fromkeys(str(cause["exception_message"]) for cause in causes))


# ------------------------------------------------------------------ words


def _between(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    more, less = bool(kwargs.get("strict_min")), bool(kwargs.get("strict_max"))
    if low is not None and high is not None and not (more or less):
        return f"between {_text(low)} and {_text(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'more than' if more else 'at least'} {_text(low)}")
    if high is not None:
        parts.append(f"{'less than' if less else 'at most'} {_text(high)}")
    return " and ".join(parts)


SENTENCES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "expect_column_values_to_be_between": lambda k: f"{k['column']} is {_between(k)}",
    "expect_column_values_to_not_be_null": lambda k: f"{k['column']} is never missing",
    "expect_column_values_to_be_null": lambda k: f"{k['column']} is always missing",
    "expect_column_values_to_be_unique": lambda k: f"{k['column']} never repeats",
    "expect_column_values_to_be_in_set": lambda k: (
        f"{k['column']} is {_or(map(_text, k['value_set']))}"
    ),
    "expect_column_values_to_match_regex": lambda k: f"{k['column']} has the form {k['regex']}",
    "expect_column_max_to_be_between": lambda k: f"the largest {k['column']} is {_between(k)}",
    "expect_column_min_to_be_between": lambda k: f"the smallest {k['column']} is {_between(k)}",
    "expect_compound_columns_to_be_unique": lambda k: (
        f"{' and '.join(k['column_list'])} together never repeat"
    ),
    "expect_table_row_count_to_be_between": lambda k: f"there are {_between(k)} rows",
    "expect_table_row_count_to_equal": lambda k: f"there are {_text(k['value'])} rows",
}


def _statement(rule: Rule) -> str:
    """The expectation as a sentence, with its reason; a law without exceptions is its reason."""
    if _looks_for_exceptions(rule):
        return rule.reason
    known = SENTENCES.get(rule.type)
    what = known(rule.kwargs) if known else f"{rule.type} {dict(rule.kwargs)}".replace("_", " ")
    return f"{what}: {rule.reason}"


def _text(value: object) -> str:
    """A value as people write it: years and codes as they are, large numbers with commas."""
    if isinstance(value, float):
        if math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
            return _text(int(value))
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return "none" if value is None else str(value)


def _place(table: pa.Table, index: int, rule: Rule) -> str:
    """Where a failed row stands, what it is about, and the value of the rule's columns."""
    import pyarrow as pa

    looked_at = rule.columns()
    about = [
        field.name
        for field in table.schema
        if (pa.types.is_string(field.type) or pa.types.is_int32(field.type))
        and field.name not in {*PROVENANCE, *looked_at}
    ][:4]
    place = [name for name in PROVENANCE if name in table.column_names]
    wanted = dict.fromkeys([*place, *about, *looked_at])
    row = {name: table[name][int(index)].as_py() for name in wanted}
    if "file" in row and row.get("column") is None and len(looked_at) == 1:
        row["column"] = looked_at[0]
    return _describe(row)


def _describe(row: Mapping[str, Any]) -> str:
    """A row in words: its place in the publisher's file, if it says so, and its values."""
    file, _, sheet = str(row.get("file") or "").partition("#")
    where = [
        file,
        f"sheet {sheet!r}" if sheet else "",
        f"row {row['row_number']}" if row.get("row_number") is not None else "",
        f"column {row['column']!r}" if row.get("column") is not None else "",
    ]
    what = ", ".join(f"{k} {_text(v)}" for k, v in row.items() if k not in PROVENANCE)
    return ": ".join(part for part in (", ".join(w for w in where if w), what) if part)
