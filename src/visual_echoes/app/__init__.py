"""The web page and the HTTP API: one bounded queue of jobs in front of one loaded model.

`forms` says what can be asked for, `tasks` is what is to be made for it, alone or together, and `service` makes it:
`jobs` are what waits and what came of it. `api` and `page` are two faces of them, `gate` stands before both, and
`server` puts all together. `cluster` serves without a queue.
"""
