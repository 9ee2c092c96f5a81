"""One module per figure that is also a page: it makes HTML that a browser opens by itself, with nothing to fetch."""
