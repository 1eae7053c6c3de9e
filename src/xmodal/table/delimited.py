"""CSV of any dialect, every cell as text: encoding, separator and quotation marks are found from the whole file."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import pyarrow as pa

from xmodal.errors import TableError, unknown

BLOCK = 16 * 2**20  # bytes; a cell must fit into one
SEPARATORS = (b"\t", b";", b"|", b",")  # of two that divide a file as well, the one seldom met within cells comes first
QUOTED = re.compile(rb'(?<![^,;\t|\r\n])"[^"]*+(?:""[^"]*+)*+"(?=[,;\t|\r\n]|\Z)')
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
COMMON = (  # Chinese characters that every text is full of
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动"
    "面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战"
    "向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题"
    "活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强"
    "即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔男片红黑黄蓝绿价店京商车买卖包衣鞋"
)  # fmt: skip
LATIN = r"(?<=[A-Za-z])[À-ž]|[À-ž](?=[A-Za-z])|[€£°’“”–—…«»©®·]"
CYRILLIC = r"\b[А-ЯЁ]+\b|\b[А-ЯЁ]?[а-яё]+\b"
GREEK = r"\b[Α-ΩΆΈ-Ώ]+\b|\b[Α-ΩΆΈ-Ώ]?[ά-ώ]+\b"
USUAL = bytes(b for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF) for b in (high, low)).decode("gb2312", "ignore")
LETTERS = {  # what the letters beside ASCII should be, in texts of each encoding
    "gb18030": f"[{USUAL}\u3001-\u3011，！？；：（）“”…]", "big5": f"[{COMMON}]", "euc_kr": "[\uac00-\ud7a3]",
    "shift_jis": "[\u3041-\u30fa]", "euc_jp": "[\u3041-\u30fa]", "cp1252": LATIN, "cp1250": LATIN, "cp1251": CYRILLIC,
    "koi8_r": CYRILLIC, "cp1253": GREEK, "utf-16-le": "[\1-\u024f]", "utf-16-be": "[\1-\u024f]",
}  # fmt: skip
PLAUSIBLE = 0.25
MOST = 0.8  # of the lines: when so many have the same number of cells, the others are no rows
UNEVEN = re.compile(r"Row #([0-9]+): Expected ([0-9]+) columns, got ([0-9]+): (.*)", re.DOTALL)


def read_delimited(path: Path, content: bytes, encoding: str | None) -> tuple[pa.Table, list[str]]:
    """Every column as text, so that types come from the Reading alone; and what to tell the user. Raises TableError."""
    import pyarrow.compute as pc
    from pyarrow import csv as arrow

    text = utf8(content, encoding, path)
    told = re.match(rb"sep=(.)\r?\n", text)  # the line by which spreadsheets pass their separator on
    separator, text = (told[1], text[told.end() :]) if told else (separator_of(text, path), text)
    text = quoted(text, separator, path)
    names = next(csv.reader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline=""), delimiter=separator.decode()), [])
    if not names:
        raise TableError("a header line with the column names", f"none in {path}", "add one")
    places = [str(i) for i in range(len(names))]
    convert = arrow.ConvertOptions(column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False)
    parse = arrow.ParseOptions(delimiter=separator.decode(), newlines_in_values=True, ignore_empty_lines=len(names) > 1)

    def attempt(block: int, threads: bool) -> pa.Table:
        read = arrow.ReadOptions(column_names=places, skip_rows_after_names=1, block_size=block, use_threads=threads)
        return arrow.read_csv(pa.BufferReader(text), read, parse, convert)

    try:
        data = attempt(BLOCK, len(text) > BLOCK)  # of a header alone, threads may outlive the process and abort it
    except pa.ArrowInvalid as e:  # again, for a cell larger than a block, or for the row of a fault, which only one thread tells
        try:
            data = attempt(2**30 if "straddling" in str(e) else BLOCK, False)
        except pa.ArrowInvalid as wrong:
            if not (found := UNEVEN.search(str(wrong))):
                raise
            got = f"{found[3]} in row {found[1]} of {path} (the header is row 1): {found[4][:60]!r}"
            do = f"quote cells that hold {separator.decode()!r}, and delete lines that are no rows: titles above the header, notes, sums"
            raise TableError(f"{found[2]} cells in every row, as many as the header has names", got, do) from wrong
    # Tables written one below the other repeat their header: it is no row. In one column it may be a cell.
    again = reduce(pc.and_, map(pc.equal, data.columns, names))
    count = pc.sum(again).as_py() if len(names) > 1 else 0
    notes = [f"{count} lines of {path} repeat its header: they are no rows"] if count else []
    return (data.filter(pc.invert(again)) if count else data).rename_columns(names), notes


def separator_of(text: bytes, path: Path) -> bytes:
    """The one that divides most lines, outside quotation marks, into as many cells as the header; then the one of most cells. Raises
    TableError where most lines have more cells than the first, which so is a title, or lacks names."""
    header, *lines = [line for line in QUOTED.sub(b"", text).splitlines() if line] or [b""]

    def fit(separator: bytes) -> tuple[float, int]:
        count = header.count(separator)
        return (sum(line.count(separator) == count for line in lines) / max(len(lines), 1) if count else -1.0), count

    best = max(SEPARATORS, key=fit)
    for separator in SEPARATORS if lines and fit(best)[0] < MOST else ():
        cells, often = Counter(line.count(separator) for line in lines).most_common(1)[0]
        if cells > max(header.count(separator), separator != b",") and often >= MOST * len(lines):
            got = f"{header[:60].decode(errors='replace')!r} in {path}, where most lines have {cells + 1} cells"
            raise TableError("a name for each column in the first line", got, "delete the lines above the header, or name every column")
    return best if best in header else b","


def quoted(text: bytes, separator: bytes, path: Path) -> bytes:
    """The same table, quotation marks that begin a cell but don't enclose it written so that they stay. Raises TableError for
    one that is never closed."""
    end = rb"[^%b\r\n]" % re.escape(separator)

    def mend(found: re.Match[bytes]) -> bytes:
        inside, close, rest = found.groups()
        if close and not rest.strip():
            return found[0]
        if not close or b"\n" in inside or separator in inside or inside.endswith(b"\\"):
            line = text.count(b"\n", 0, found.start()) + 1
            do = "close it, and write those within a quoted cell twice"
            raise TableError("a closing quotation mark for every quoted cell", f"none for the one that opens in line {line} of {path}", do)
        return b'"' + found[0].replace(b'"', b'""') + b'"'

    return re.sub(rb'(?<!%b)"([^"]*+(?:""[^"]*+)*+)("?)(%b*)' % (end, end), mend, text) if b'"' in text else text


def utf8(content: bytes, encoding: str | None, path: Path) -> bytes:
    """The text as UTF-8: by its mark, else UTF-8, else `encoding`, else GB18030 where that reads as Chinese. Raises TableError."""
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise unknown("encoding", str(encoding), {*LETTERS, "utf-8", "utf-16", "gbk", "latin_1", "cp437", "cp850", "cp866"}) from None
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if not marked and (encoding is None or not content.isascii()) and b"\0" not in content:
        with contextlib.suppress(UnicodeDecodeError):
            content.decode()
            return content
    fits: Mapping[str, float] = {} if marked or encoding else fitting(content)
    name = marked or encoding or ("gb18030" if chinese(content, fits) else None)
    if name is None:
        likely = " or ".join(sorted(fits, key=lambda n: -fits[n])[:3]) or "none that we know"
        do = "say --encoding NAME (in Python: encoding=), or save it as UTF-8"
        raise TableError("text in UTF-8", f"another encoding in {path} (its bytes fit {likely})", do)
    try:
        return content.decode(name).removeprefix("\ufeff").encode()
    except UnicodeError as e:
        raise TableError(f"text in {name}", f"{e} in {path}", "give another --encoding") from e


def fitting(content: bytes) -> dict[str, float]:
    """The encodings of which much of what isn't ASCII would be the letters that their texts are made of: how much."""
    fits = {}
    for name, letters in LETTERS.items():
        text = content.decode(name, "replace") if name.startswith("utf") == (b"\0" in content) else "\ufffd"
        if "\ufffd" not in text:
            strange = sum(c > "\x7f" or name.startswith("utf") for c in text)
            fits[name] = sum(map(len, re.findall(letters, text))) / max(strange, 1)
    return {name: fit for name, fit in fits.items() if fit >= PLAUSIBLE}


def chinese(content: bytes, fits: Mapping[str, float]) -> bool:
    """Whether its characters are the usual ones, some of them common, and no other encoding's bytes pass for GB18030."""
    if fits.get("gb18030", 0) < 0.85 or {"shift_jis", "euc_jp"} & fits.keys() or any(f >= 0.95 for n, f in fits.items() if n != "gb18030"):
        return False
    usual = [c for c in content.decode("gb18030") if c in USUAL]
    return sum(c in COMMON for c in usual) >= 0.2 * len(usual)
