"""Tables of any container, and the Reading of a column: decided once, the same for a column and for one cell."""

from xmodal.table.reading import GAPS, Guess, Mixed, Reading, canonical, distinct, text_of
from xmodal.table.sources import BOX, Table, read_table

__all__ = ["BOX", "GAPS", "Guess", "Mixed", "Reading", "Table", "canonical", "distinct", "read_table", "text_of"]
