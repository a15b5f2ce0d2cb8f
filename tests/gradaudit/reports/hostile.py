"""Names that mean something to a format, a terminal or a reader's eye, for tests to put wherever a name can stand."""

from __future__ import annotations

HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "quotes": "\"quoted\" 'twice'",
    "newline": "new\nline\r",
    "backslash": "back\\slash\\n\\N\\",
    "end of cdata": "]]>",
    "html-like label": "<b>bold</b>",
    "port": "a:b:c",
    "entity": "&amp; &#0;",
    "record": "{a|<b>}",
    "right-to-left": "abc\u202egpj.exe\u200f",
    "nul": "nul\x00",
    "control": "\x1b[31mred\x07\x85",
    "surrogate": "half\ud800",
    "no character": "\ufffe\uffff",
    "command": "::error::x",
    "very long": "long_" * 400,
    "empty": "",
}
