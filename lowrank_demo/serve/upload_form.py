"""Read the form of an upload as it arrives, with the parser that Gradio uses."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

_MAX_FILES = 500
"""Largest number of files in one upload: while it arrives, all of them are open."""


class UploadForm:
    """The form of one upload, as far as it has arrived.

    Args:
        content_type: The request's Content-Type header, which states what separates the form's parts.

    Raises:
        HTTPException: The header does not state a form.
    """

    def __init__(self, content_type: str | None) -> None:
        self._files = 0
        self._name = self._value = self._disposition = b""
        kind, options = parse_options_header(content_type)
        try:
            if kind != b"multipart/form-data":
                raise KeyError
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_to_name,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._count,
                },
            )
        except (KeyError, FormParserError) as error:
            raise _no_form() from error

    def check(self, body: bytes) -> int:
        """Take the next piece of the form; return how many files begin in it.

        Raises:
            HTTPException: A part is not a file (Gradio would keep it in memory), there are too many files, or this is
                not a form.
        """
        before = self._files
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise _no_form() from error
        return self._files - before

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _count(self) -> None:
        if b"filename" not in parse_options_header(self._disposition)[1]:
            raise HTTPException(400, "The upload has a field that is not a file; expected a form with only files.")
        self._files += 1
        if self._files > _MAX_FILES:
            raise HTTPException(413, f"The upload has more than {_MAX_FILES} files; send fewer at once.")


def _no_form() -> HTTPException:
    return HTTPException(400, "The upload cannot be read; expected a form with only whole files.")
