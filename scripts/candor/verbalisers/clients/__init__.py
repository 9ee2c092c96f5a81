"""How a job opens the client that its verbaliser asks: a server's, or a subject of the study's own."""
