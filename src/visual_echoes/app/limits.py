"""What one visitor, and all of them together, may ask of the page and the HTTP API.

What a single file may hold (pixels, seconds, channels) is bounded where files are read, in `visual_echoes.media`.
"""

from __future__ import annotations

MAX_UPLOAD_BYTES = 100 * 1024**2  # of one request, all of its files together
MAX_MESSAGE_BYTES = 1024**2  # of one request without files
MAX_DROPPED_BYTES = 1024**3  # of a request that is refused, before its connection is ended
DROPPED_SECONDS = 60  # for which they are waited for
MAX_STORED_BYTES = 1024**3  # of uploads that wait on the disk for the button to be pressed
MAX_UPLOAD_AGE = 3600  # seconds until such an upload is removed
MAX_NAME = 100  # characters kept of an upload's name

MAX_VARIANTS = 8  # made by one job
MAX_STEPS = 100  # sampling steps of one job, or of each window of a long sound, for each of the candidates
MAX_CANDIDATES = 8  # made of each variant to choose among
LONGEST_SOUND = 120.0  # seconds that one job makes for videos, all variants together, unless the server is told other
MIN_SECONDS = 0.1  # of a sound whose length is asked for
MIX_DB = -60.0, 12.0  # levels at which a video's own sound may stay beneath
MAX_WAITING = 16  # jobs in the queue; the next one is refused
BATCH_ITEMS = 16  # variants made at once of jobs that wait for the same
BATCH_DELAY = 0.02  # seconds that jobs which had to wait anyway wait for more of the kind
MAX_SHOWN = 48  # results of a visit that its gallery shows, the newest ones
MAX_CONNECTIONS = 256  # at a time

MAX_KEPT_BYTES = 256 * 1024**2  # of the results in memory; the oldest go first
MAX_KEPT_SECONDS = 3600  # after a job has ended

MIN_TOKEN = 16  # characters, so that it cannot be guessed
POLL_SECONDS = 0.1  # between two looks at a job that is followed
