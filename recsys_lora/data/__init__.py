"""From raw files to one table, and from the table to histories and batches."""

from recsys_lora.data.history import History
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import RawTables, Reader, RowTables, Split, SplitResult
from recsys_lora.data.split import ColdItems, GlobalTime, LeaveLastOut, UserTime

__all__ = [
    "ColdItems",
    "GlobalTime",
    "History",
    "LeaveLastOut",
    "PreparedData",
    "RawTables",
    "Reader",
    "RowTables",
    "Split",
    "SplitResult",
    "UserTime",
]
