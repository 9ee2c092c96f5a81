"""From a source's rows to examples: one module per shape of rows, named by `datasets.ID.transform`.

A module has `Options`, the pydantic model of `datasets.ID.options`, and `transform(rows, options)`, which gives
examples, or `Reported`: examples with counts for the record. It raises RowError for a row that it cannot read. One that
needs whole examples, or generations with the examples that they answer, says so: `READS = "examples"` or
`READS = "generations"`.
"""
