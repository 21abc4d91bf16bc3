"""Extension of Griffe for the site: the sessions in docstrings become blocks of code.

Docstrings show examples as interactive sessions (``>>> …``) without a heading, as `help()` prints them. Markdown would take
these lines for quotations.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SESSION = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)


def fenced(session: re.Match[str]) -> str:
    indent = session[1]
    return f"{indent}```pycon\n{re.sub(r'  # doctest:.*', '', session[0])}\n{indent}```"


class Doctests(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = SESSION.sub(fenced, obj.docstring.value)
