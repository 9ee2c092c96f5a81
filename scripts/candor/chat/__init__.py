"""Chat clients: requests in, completions out, whoever serves the model."""
