"""The web page and the HTTP API: one bounded queue of jobs in front of one loaded model.

`forms` says what can be asked for, and `service` does it: `jobs` are what waits and what came of it, `batching` makes
one call of several. `api` and `page` are two faces of them, `gate` stands before both, and `server` puts all together.
`cluster` serves without a queue.
"""
