"""The figures that documents repeat, recomputed from the release's own tables.

``claims.yaml`` beside it, reviewed by hand, holds statements, published figures and SQL; ``make``
runs each query and says what holds.  A reader can run the same text with ``urban-migration sql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FILE: Final = Path(__file__).with_suffix(".yaml")
FIGURES: Final = ("computed_value", "computed_low", "computed_high")
VERDICTS: Final = ("reproduced", "revised", "not_reproducible")


@dataclass(frozen=True)
class Claim:
    """One statement of one document, with the query that recomputes it.

    It counts as reproduced within ``tolerance`` of ``published``, or from ``at_least`` on; where
    neither is given nothing reproduces it.  ``needs`` names what the bundled extract lacks.
    """

    claim_id: str
    document: str
    statement: str
    published: float | None
    unit: str
    sql: str
    otherwise: str
    why: str
    tolerance: float | None = None
    at_least: float | None = None
    needs: str | None = None

    def verdict(self, computed: float | None) -> str:
        """Whether the recomputed figure bears the claim out."""
        if computed is None:
            return "not_reproducible"
        near = (
            self.published is not None
            and self.tolerance is not None
            and abs(computed - self.published) <= self.tolerance
        )
        enough = self.at_least is not None and computed >= self.at_least
        return "reproduced" if near or enough else self.otherwise


def read_claims(path: Path = FILE) -> list[Claim]:
    """The reviewed claims in their order; a field that is not known is an error."""
    import yaml

    book = yaml.safe_load(path.read_text("utf-8"))
    claims = []
    for claim_id, entry in book["claims"].items():
        claim = Claim(claim_id, **{**entry, "document": book["documents"][entry["document"]]})
        sql = entry["sql"]
        if isinstance(sql, dict):
            ((template, value),) = sql.items()
            sql = book["templates"][template].replace("{}", str(value))
        if claim.otherwise not in VERDICTS[1:]:
            raise ValueError(f"{path.name}, {claim_id}: otherwise is {claim.otherwise!r}")
        fields = {**entry, "document": claim.document, "sql": sql.rstrip("\n")}
        claims.append(Claim(claim_id, **fields))
    return claims


def make(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row per claim: the published figure, the recomputed one, and what to make of it."""
    import pyarrow as pa

    extract = con.sql("select coalesce(getvariable('extract'), false)").fetchall()[0][0]
    numbers = {name: pa.float64() for name in ("published_value", *FIGURES, "difference")}
    words = ("claim_id", "document", "statement", "unit", "verdict", "explanation", "context")
    schema = pa.schema({**dict.fromkeys((*words, "sql"), pa.string()), **numbers})
    return pa.Table.from_pylist([_row(con, claim, extract) for claim in read_claims()], schema)


def _row(con: duckdb.DuckDBPyConnection, claim: Claim, extract: bool) -> dict[str, Any]:
    lacking = extract and claim.needs
    answers = [] if lacking else list(_answers(con, claim.sql))
    first = answers[0] if answers else {}
    figures = {name: _number(first.get(name)) for name in FIGURES}
    computed = figures["computed_value"]
    explanation = claim.why
    if lacking:
        explanation = (
            f"Not computed: this release was built from the bundled extract, which lacks "
            f"{claim.needs}. {claim.why}"
        )
    elif not answers or all(value is None for value in figures.values()):
        explanation = f"No figure in this release. {claim.why}"
    known = computed is not None and claim.published is not None
    return {
        "claim_id": claim.claim_id,
        "document": claim.document,
        "statement": claim.statement,
        "published_value": claim.published,
        **figures,
        "unit": claim.unit,
        "difference": round((computed or 0) - (claim.published or 0), 2) if known else None,
        "verdict": claim.verdict(computed),
        "explanation": explanation,
        "context": "; ".join(filter(None, map(_context, answers))) or None,
        "sql": claim.sql,
    }


def _answers(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Mapping[str, Any]]:
    result = con.sql(sql)
    for row in result.fetchall():
        yield dict(zip(result.columns, row, strict=True))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _context(answer: Mapping[str, Any]) -> str:
    """What else a row of the answer says; of bounds by year, the bounds too."""
    if "year" in answer and answer.get("computed_low") is not None:
        low, high = float(answer["computed_low"]), float(answer["computed_high"])
        return f"{answer['year']}: {low:g} to {high:g}"
    return ", ".join(
        f"{name} {_text(value)}"
        for name, value in answer.items()
        if value is not None and name not in FIGURES
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
