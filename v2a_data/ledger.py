"""The workspace's ledger: one SQLite file that holds all state. Only the driver writes it.

WAL mode, so that `status` can read while a command writes. Everything that belongs together is one
transaction; a killed command leaves the ledger as after its last transaction.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from v2a_data import schema
from v2a_data.errors import DiskError, FatalError, UsageError
from v2a_data.ids import clean_text
from v2a_data.runs import host, now

Row = sqlite3.Row
# Ledgers of these versions are brought up to date by a command that writes.
_UPGRADED = ("1", "2")


class Ledger:
    """An open ledger. `read_only` opens an existing one without taking part in writing; a null path is
    an empty one in memory."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path or Path("(in memory)")
        mode = "ro" if read_only else "rwc"
        place = f"{path.absolute().as_uri()}?mode={mode}" if path else ":memory:"
        try:
            self._db = sqlite3.connect(place, uri=path is not None, isolation_level=None)
            if read_only and not self._readable():
                # Reading a WAL needs a file beside it, which a read-only place cannot have: nobody writes there.
                self._db.close()
                self._db = sqlite3.connect(f"{place}&immutable=1", uri=True, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA busy_timeout = 30000")
            if not read_only:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._create()
            self._check_version()
        except sqlite3.DatabaseError as error:
            raise _as_fatal(error, self.path) from None

    def _readable(self) -> bool:
        try:
            self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        except sqlite3.OperationalError:
            return False
        return True

    def _create(self) -> None:
        with self.transaction():
            self._db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
            for table in schema.TABLES:
                create, *others = table.ddl()
                self._db.execute(create)
                self._add_columns(table)
                for statement in others:
                    self._db.execute(statement)
            found = self.meta("schema_version")
            if found == "1":
                self._db.execute(schema.TALLY_ALL_CLIPS)
            if found in _UPGRADED:
                self.set_meta("schema_version", str(schema.LEDGER_VERSION))
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(schema.LEDGER_VERSION),))

    def _add_columns(self, table: schema.Table) -> None:
        """Columns that a workspace of an earlier version lacks; they are null there."""
        have = {row["name"] for row in self._db.execute(f"PRAGMA table_info({table.name})")}
        for statement in table.add_columns(have):
            self._db.execute(statement)

    def _check_version(self) -> None:
        found = int(self.meta("schema_version") or 0)
        if found != schema.LEDGER_VERSION:
            older = str(found) in _UPGRADED
            raise UsageError(
                f"{self.path}: workspace version {found}, this program reads {schema.LEDGER_VERSION}",
                hint="`v2a-data curate` brings it up to date"
                if older
                else "use the program version that made it, or start another workspace with -w",
            )

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none. A full disk raises `DiskError`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _as_fatal(error, self.path) from None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        return list(self.each(sql, parameters))

    def each(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows one by one, on a cursor of their own, so that memory stays flat."""
        try:
            yield from self._db.execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise _as_fatal(error, self.path) from None

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or null."""
        row = next(self.each(sql, parameters), None)
        return row[0] if row else None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; returns the number of rows it touched."""
        return self._db.execute(sql, parameters).rowcount

    def insert(
        self,
        table: schema.Table,
        rows: Iterable[Mapping[str, Any]],
        *,
        existing: Literal["fail", "ignore", "replace"] = "fail",
    ) -> int:
        """Insert rows given as mappings; JSON columns are encoded, missing columns are null."""
        columns = [column for column in table.columns if not (table.auto_key and column.name == "id")]
        verb = {"fail": "INSERT", "ignore": "INSERT OR IGNORE", "replace": "INSERT OR REPLACE"}[existing]
        marks = ", ".join("?" for _ in columns)
        names = ", ".join(column.name for column in columns)
        values = ([_encode(column, row.get(column.name)) for column in columns] for row in rows)
        # Table and column names come from schema.py, never from input.
        statement = f"{verb} INTO {table.name} ({names}) VALUES ({marks})"
        return self._db.executemany(statement, values).rowcount

    def attempt(
        self,
        video_id: str,
        stage: str,
        failure: str | None,
        message: str = "",
        tool_version: str | None = None,
        seconds: float | None = None,
        at: str | None = None,
        tries: int | None = None,
    ) -> None:
        """Record one attempt at a video, now or `at`; `failure` null means it went well."""
        row = {
            "video_id": video_id,
            "stage": stage,
            "class": failure or "ok",
            "message": clean_text(message) or None,
            "tool_version": tool_version,
            "at": at or now(),
            "host": host(),
            "seconds": None if seconds is None else round(seconds, 3),
            "tries": tries,
        }
        self.insert(schema.ATTEMPTS, [row])

    def meta(self, key: str) -> str | None:
        """A value of the `meta` table."""
        if not self.value("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            return None
        return self.value("SELECT value FROM meta WHERE key = ?", (key,))  # type: ignore[no-any-return]

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the `meta` table."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def counts(self, table: str, column: str, where: str = "1", parameters: Sequence[Any] = ()) -> dict[str, int]:
        """Number of rows per value of a column, sorted by value. Names come from the code, not from users."""
        sql = f"SELECT {column}, COUNT(*) FROM {table} WHERE {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
        return {str(row[0]): row[1] for row in self._db.execute(sql, parameters)}

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Every table but the volatile ones, sorted by key: what two equal runs have in common."""
        out = {}
        for table in schema.TABLES:
            if table.name not in schema.VOLATILE_TABLES:
                names = [c.name for c in table.columns if c.name not in ("at", "host", "seconds")]
                sql = f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {', '.join(table.key)}"  # noqa: S608
                out[table.name] = [dict(row) for row in self._db.execute(sql)]
        return out


def _encode(column: schema.Column, value: Any) -> Any:
    if column.kind == "json" and value is not None:
        return encode_json(value)
    return value


def encode_json(value: Any) -> str:
    """JSON as it stands in the ledger: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _as_fatal(error: sqlite3.Error, path: Path) -> FatalError:
    text = str(error)
    if "disk" in text or "readonly" in text or "unable to open" in text or "I/O" in text:
        return DiskError(f"{path}: {text}", hint="free space or make the folder writable, then run the command again")
    return FatalError(
        f"{path}: {text}", hint="the ledger cannot be used; see the log, or start another workspace with -w"
    )
