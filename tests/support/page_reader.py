"""Reads the page of a run as a browser would, without one."""

import json
from html.parser import HTMLParser


class Page(HTMLParser):
    """
    A page of a run.

    Attributes:
        sections (`dict[str, str]`): The text of every section by its id, in order.
        charts (`list[str]`): Ids of the elements of charts.
        addresses (`list[str]`): All values of `src`, `href` and the like.
        tags (`set[str]`): All elements.
        figures (`dict`): The figures of Plotly by id.
    """

    def __init__(self, path):
        super().__init__()
        self.sections, self.charts, self.addresses, self.tags, self.figures = {}, [], [], set(), {}
        self._section, self._script = None, None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        if tag == "section":
            self._section = named["id"]
            self.sections[self._section] = ""
        if named.get("class") == "chart":
            self.charts.append(named["id"])
        if tag == "script":
            self._script = named.get("id", "")

    def handle_endtag(self, tag):
        if tag == "section":
            self._section = None
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script == "figures":
            self.figures = json.loads(data)
        elif self._section is not None:
            self.sections[self._section] += data
