"""The web page and the HTTP API: one bounded queue of jobs in front of one loaded model.

`service` and `tasks` know neither Gradio nor FastAPI; `api` and `page` are two faces of them, `gate` stands before
both, and `server` puts all together. `batching` is what makes several jobs one call; `cluster` serves without a queue.
"""
