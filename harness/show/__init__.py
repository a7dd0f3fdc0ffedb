"""`dogerm report`: what a sweep or a search found, as a page and as Markdown."""
