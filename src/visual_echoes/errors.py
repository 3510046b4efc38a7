"""The one exception a user can cause: its message is a sentence fit to be shown as it is."""


class EchoesError(Exception):
    """Bad input, a broken file, an impossible request.

    The message is one clear sentence that names the file or value, says what is wrong and what to do about it.
    The command prints it without a traceback and exits with status 1.
    """


def first_line(error: Exception) -> str:
    """What another library's exception says, in one line; its kind, if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
