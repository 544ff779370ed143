"""The exception tree: every error a user can meet.

A message is one sentence (or two) that says what was found, what was expected and what to do. Nothing here carries a
traceback to a user: the command line prints the message and exits with ``exit_code``, the page shows the message.
"""

from __future__ import annotations


class LowRankError(Exception):
    """Base of every error raised on purpose by this package."""

    exit_code = 1


class UsageError(LowRankError):
    """The request itself is wrong: an option, a name, an amount."""


class SettingError(UsageError):
    """An environment variable has a value that cannot be used."""


class UnknownModel(UsageError):
    """No model card has the id asked for."""


class TooManyPhotos(UsageError):
    """More photos in one request than the limit allows."""


class DataError(LowRankError):
    """Input data is damaged, foreign or outside the limits."""

    exit_code = 2


class UnknownJob(UsageError):
    """No validation has the id asked for."""


class Busy(LowRankError):
    """Too much is waiting already; trying again later helps."""


class RecordError(DataError):
    """One record of an LMDB file is not what the format says; the others are unaffected."""


class NotWritten(DataError):
    """A file could not be written, mostly because the disk is full."""


class CardError(DataError):
    """A model card does not follow the format."""


class ImageError(DataError):
    """One photo cannot be used; the others of its batch are unaffected."""


class WeightsError(LowRankError):
    """A model's weights cannot be used."""

    exit_code = 3


class WeightsUnavailable(WeightsError):
    """The weights are neither bundled nor cached, and could not be downloaded."""


class WeightsRefused(WeightsError):
    """A weight file was found, but is not what its model card describes."""


class ProcessLost(LowRankError):
    """Another process of the same run ended before its work was done."""

    exit_code = 2


class TrainingDiverged(LowRankError):
    """The training loss is no longer finite."""

    exit_code = 2


class NotPublished(LowRankError):
    """The Hub could not be reached or refused the upload."""

    exit_code = 3
