"""Read an HTML page as a browser does: its tables, texts and links."""

from html.parser import HTMLParser

# Elements that are never closed.
VOID = ('meta', 'img', 'br', 'link', 'input', 'hr')
LINKS = ('src', 'href', 'srcset', 'data', 'action', 'poster', 'style')


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        tables: Rows of cells by the table's id.
        texts: The text of each element with an id.
        links: Values of attributes that can load or lead somewhere.
        open: Elements that were not closed; empty for a whole page.
    """

    def __init__(self, text):
        super().__init__()
        self.tables, self.texts, self.links = {}, {}, []
        self.content = ''
        self.tags, self.ids = [], []
        self.open = []
        self.rows = self.cell = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.links += [attrs[key] for key in LINKS if attrs.get(key)]
        if attrs.get('id'):
            self.ids.append(attrs['id'])
        if tag not in VOID:
            self.open.append((tag, attrs.get('id')))
        if tag == 'table':
            self.rows = self.tables.setdefault(attrs.get('id'), [])
        elif tag == 'tr':
            self.rows.append([])
        elif tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        self.content += data
        for _, name in self.open:
            if name:
                self.texts[name] = self.texts.get(name, '') + data
        if self.open and self.open[-1][0] in ('td', 'th'):
            self.rows[-1][-1] += data

    def table(self, name):
        """A table's rows below its head, by the first cell."""
        return {row[0]: row[1:] for row in self.tables[name][1:]}

    def text(self):
        """All text of the body."""
        return self.content


def check_self_contained(page):
    """Nothing is loaded from anywhere, and ids are the page's own."""
    for link in page.links:
        assert link.startswith(('#', 'data:')) or 'url(' not in link, link
        assert '//' not in link.partition('base64,')[0], link
    assert 'script' not in page.tags and 'link' not in page.tags
    assert len(page.ids) == len(set(page.ids)), page.ids
    for link in page.links:
        if link.startswith('#'):
            assert link[1:] in page.ids, link
