"""The one exception of this package that a user is meant to read."""


class DataError(ValueError):
  """A problem with the data or with how it was asked for.

  The message names the argument in backticks, the value that was received and
  what would do. A command line prints it as it stands and exits.
  """


def one_line(error: BaseException, limit: int = 300) -> str:
  """The first line of an error's text, cut to `limit` characters."""
  lines = [line for line in str(error).splitlines() if line.strip()]
  text = lines[0].strip() if lines else type(error).__name__
  return text if len(text) <= limit else text[:limit - 3] + '...'
