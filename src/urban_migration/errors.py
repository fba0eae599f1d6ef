"""The errors that users of the product meet.

Each says what is wrong, where (file, sheet, row, column) and what to do; the command line
prints the message alone, without a traceback.  Anything else that escapes is a defect of ours.
"""

from __future__ import annotations


class ProductError(Exception):
    """Base of every error with a message for the user; ``exit_code`` is the command's."""

    exit_code = 1


class ReadError(ProductError):
    """A publisher's file does not look as its reader was told it would."""

    def __init__(
        self,
        problem: str,
        *,
        file: str,
        sheet: str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        """``row`` counts from 1 as a spreadsheet does; ``column`` is the publisher's header."""
        where = [file]
        where += [f"sheet {sheet!r}"] if sheet is not None else []
        where += [f"row {row}"] if row is not None else []
        where += [f"column {column!r}"] if column is not None else []
        super().__init__(f"{', '.join(where)}: {problem}")
        self.problem, self.file, self.sheet, self.row, self.column = (
            problem,
            file,
            sheet,
            row,
            column,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the place when the error crosses from a worker process."""
        place = {"file": self.file, "sheet": self.sheet, "row": self.row, "column": self.column}
        return _read_error, (self.problem, place)


def _read_error(problem: str, place: dict[str, object]) -> ReadError:
    return ReadError(problem, **place)  # type: ignore[arg-type]


class DownloadError(ProductError):
    """A publisher did not deliver, or delivered something that is not the file."""


class RawStoreError(ProductError):
    """Files in the raw store are missing or differ from what the lock says of them."""


class MissingSourceError(RawStoreError):
    """A required source was never had, so there is nothing to build from."""

    exit_code = 3


class CheckError(ProductError):
    """Checks blocked the release; the previous one stands."""


class ReleaseError(ProductError):
    """A release could not be written, read or compared."""


class QueryError(ProductError):
    """A reader's SQL was refused, failed or was stopped."""


class UsageError(ProductError):
    """The command line, a name or an option is not one that exists."""

    exit_code = 2
