"""Docstrings as they are written, where Markdown would run their lines together."""

import re
from typing import Any

from griffe import Attribute, Extension, Object

SENTENCE = re.compile(r"(?<=[.?!])\n(?=\S)")
LIST = re.compile(r"(?:^- .*\n(?:  .*\n)*)+", re.M)


class Lines(Extension):
    """Keeps a line that ends with a sentence a line, by Markdown's two spaces, and a list apart, by empty lines."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            apart = LIST.sub(r"\n\g<0>\n", obj.docstring.value + "\n")
            obj.docstring.value = SENTENCE.sub("  \n", apart).rstrip()

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """A plain `ClassVar` is no parameter of its dataclass; Griffe knows only `ClassVar[...]`."""
        if str(attr.annotation) == "ClassVar":
            attr.labels.discard("instance-attribute")
