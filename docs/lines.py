"""Docstrings as they are written, where Markdown would run their lines together."""

from typing import Any

from griffe import Attribute, Extension, Object

from pvg.gallery import as_written


class Lines(Extension):
    """What the API reference changes in what Griffe reads."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_written(obj.docstring.value)

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """A plain `ClassVar` is no parameter of its dataclass; Griffe knows only `ClassVar[...]`."""
        if str(attr.annotation) == "ClassVar":
            attr.labels.discard("instance-attribute")
