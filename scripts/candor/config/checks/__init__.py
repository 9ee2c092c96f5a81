"""Checks across sections: each gives sentences, `key says what, which …`, about a study whose sections are right."""
