"""The exception tree: every error that a user can meet.

A message is one or two sentences: what was found, what was expected, and what to do. Users never see a traceback. The
command line prints the message and exits with ``exit_code``; the page shows the message.
"""

from __future__ import annotations


class LowRankError(Exception):
    """The base class of all errors that this package raises on purpose."""

    exit_code = 1


class UsageError(LowRankError):
    """A request is wrong: an option, a name, a number, a file or folder that is not there."""


class SettingError(UsageError):
    """An environment variable has a value that cannot be used, or a name that is not known."""


class UnknownModel(UsageError):
    """No model card has the requested id."""


class UnknownJob(UsageError):
    """No validation has the requested id."""


class TooManyPhotos(UsageError):
    """A request has more photos than the limit allows."""


class Busy(LowRankError):
    """Too many requests are waiting; trying again later helps."""


class TooCostly(LowRankError):
    """Work on a stranger's data took more time or memory than it may, or crashed."""


class DataError(LowRankError):
    """Input data is damaged, in another format, or outside the limits."""

    exit_code = 2


class ImageError(DataError):
    """An image cannot be used; the others of its batch are not affected."""


class RecordError(DataError):
    """A record of an LMDB file is damaged; the other records are not affected."""


class CardError(DataError):
    """A model card does not follow the format."""


class NotWritten(DataError):
    """A file could not be written."""


class DiskFull(NotWritten):
    """A file could not be written because the disk is full."""


class OutOfMemory(LowRankError):
    """The work needs more memory than there is."""

    exit_code = 2


class WeightsError(LowRankError):
    """The weights of a model cannot be used."""

    exit_code = 3


class WeightsUnavailable(WeightsError):
    """The weights are neither bundled nor cached, and cannot be downloaded."""


class WeightsRefused(WeightsError):
    """A weight file is not what its model card describes."""


class TrainingDiverged(LowRankError):
    """The training loss is no longer finite."""

    exit_code = 2


class ProcessLost(LowRankError):
    """Another process of the same run ended before its work was done."""

    exit_code = 2


class NotPublished(LowRankError):
    """The Hub cannot be reached or refused an upload."""

    exit_code = 3
