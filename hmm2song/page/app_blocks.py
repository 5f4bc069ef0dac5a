"""The ``gr.Blocks`` that page and API stand in: what Gradio's own lack for previews of links and for callers."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction

PREVIEW_PICTURE = Path(__file__).parent / "preview.png"
"""What messengers and networks show beside a link to the page, 1200 x 630."""
DESCRIPTION = "Hum, whistle or sing a tune and see which song it is, where in the song, and how sure that is."


class AppBlocks(gr.Blocks):
    """Blocks whose page tells those who show previews of links what it is, and whose endpoints may get parameters."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list) -> None:
        """Fill in the last inputs where a call leaves out parameters that have a default.

        Gradio does so for its own client; whoever calls over plain HTTP sends what the endpoint took when they wrote
        their program.
        """
        parameters = inspect.signature(block_fn.fn).parameters.values() if block_fn.fn else ()
        if len(inputs) >= sum(parameter.default is parameter.empty for parameter in parameters):
            inputs.extend(getattr(block, "value", None) for block in block_fn.inputs[len(inputs) :])
        super().validate_inputs(block_fn, inputs)

    def get_config_file(self) -> dict:
        """Return what Gradio's page is made of; its template takes these two for the preview."""
        host = os.environ.get("SPACE_HOST")  # on a Space: a preview needs the picture's whole address
        picture = f"{f'https://{host}' if host else ''}/gradio_api/file={PREVIEW_PICTURE.as_posix()}"
        return {**super().get_config_file(), "thumbnail": picture, "simple_description": DESCRIPTION}
