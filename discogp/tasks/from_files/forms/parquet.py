"""Parquet as a table: what the Hugging Face hub keeps data sets in."""

from __future__ import annotations

import io

from discogp.errors import TaskError
from discogp.tasks.from_files.forms.table import Table
from discogp.tasks.from_files.lines import MOST_BYTES, Problems

MAGIC = b"PAR1"


def parquet_table(raw: bytes, what: str, problems: Problems) -> Table:
    """The rows of a file. TaskError if it is damaged, or larger unpacked than a file may be."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TaskError(
            f"{what} is parquet, which needs pyarrow; install it, or save the file as JSON lines"
        ) from error
    problems.unit = "row"
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(raw))
        groups = range(file.metadata.num_row_groups)
        size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        if size > 2 * MOST_BYTES or file.metadata.num_rows > MOST_BYTES // 10:
            raise TaskError(
                f"{what} unpacks to {size / 1e6:,.0f} MB; at most {2 * MOST_BYTES / 1e6:,.0f} are read; give a part"
            )
        rows = file.read().to_pylist()
    except (OSError, pyarrow.ArrowException, MemoryError) as error:
        raise TaskError(f"{what} cannot be read as parquet: {str(error)[:200]}") from error
    return Table([(number, dict(row)) for number, row in enumerate(rows, start=1)], tuple(file.schema_arrow.names))
