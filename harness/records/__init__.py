"""What a run leaves behind, as data: the schema, its JSON, the journal and the run's directory."""

from harness.records.directory import RunDirectory
from harness.records.journal import Journal, JournalContents, read_journal
from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import from_json, to_json

__all__ = [
    "ItemRecord",
    "Journal",
    "JournalContents",
    "RunDirectory",
    "RunRecord",
    "Sample",
    "from_json",
    "read_journal",
    "to_json",
]
