"""The learning rates that validation data chose for the rows of `mmlib.book.studies.natural`."""

#: data -> label of a row -> learning rate
RATES: dict[str, dict[str, float]] = {"motion": {}, "emoji": {}}
