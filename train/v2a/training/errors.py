"""What may go wrong with one training and leaves others possible."""

from v2a_data.errors import FatalError


class DivergedError(FatalError):
    """A figure is no number any more."""


class NoRoomError(FatalError):
    """It would not fit into the device's memory."""
