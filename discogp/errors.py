"""Every error a user can cause, so that the page and the command line can show its text and nothing else."""

import reprlib


class DiscoGPError(ValueError):
    """Base of the errors whose message is meant for the user: value received, what is allowed, what to do."""


class GraphError(DiscoGPError):
    """An edge or node name that the computation graph does not have."""


class ModelError(DiscoGPError):
    """A model that cannot be found, read or masked exactly."""


class TaskError(DiscoGPError):
    """A task that does not exist, cannot be encoded, or that the model cannot do."""


class ArtifactError(DiscoGPError):
    """A circuit file or folder that cannot be read or written."""


class ConfigError(DiscoGPError):
    """A setting with an unknown name or a value outside its range."""


class ContentError(DiscoGPError):
    """What a file holds is not what its reader takes; the text names no file, the reader does."""


def brief(value: object) -> str:
    """A value out of somebody's file, as a short part of a message: it may be anything, of any length and depth."""
    try:
        return _BRIEF.repr(value)
    except ValueError:  # a whole number of more digits than Python writes out
        return f"a {type(value).__name__}"


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 2
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxset = _BRIEF.maxdict = 3
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 60
