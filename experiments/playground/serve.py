"""The playground's server: on loopback alone, without telemetry, and with nothing in its pages from anywhere else."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from experiments.base.errors import ExperimentError
from experiments.playground.page import ASSETS, plotly_script
from experiments.playground.uploads import MAX_BYTES

HOST = "127.0.0.1"
SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
NEEDED = "the playground wants gradio 6 or later and plotly: pip install 'mixkit[playground]' brings them."
FONT = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
# what a page may load: what it was served by, and what it made itself
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'"
)
HEAD = """
<link rel="stylesheet" href="/playground/view.css">
<script src="/playground/plotly.min.js"></script>
<script src="/playground/view.js"></script>
"""


def serve(port: int, roots: tuple[Path, ...], say: Callable[[str], None]) -> None:
    """Serve the app until it is stopped.

    Args:
        port: a port of 127.0.0.1; 0 for any that is free.
        roots: the folders that hold data sets.
        say: is told the URL, once the server can be reached.

    Raises:
        ExperimentError: gradio or plotly is not installed, or the port is taken.
    """
    plotly = plotly_script()
    os.environ.update(SETTINGS)
    try:
        import gradio
        import uvicorn
        from fastapi import FastAPI, Request, Response
        from fastapi.middleware.trustedhost import TrustedHostMiddleware
        from fastapi.responses import FileResponse
        from fastapi.staticfiles import StaticFiles
    except ImportError as error:
        raise ExperimentError(NEEDED) from error
    if int(gradio.__version__.partition(".")[0]) < 6:
        raise ExperimentError(f"gradio {gradio.__version__} is installed; {NEEDED}")
    from experiments.playground.app import build
    from experiments.playground.saliency import digit_model

    digit_model("points")

    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # a page of elsewhere whose name leads here is not answered
    server.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @server.middleware("http")
    async def stay_here(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host')}":
            response = Response("a page of elsewhere is not answered", 403)
        else:
            response = await answer(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @server.get("/playground/plotly.min.js")
    def plotly_js() -> Response:
        return FileResponse(plotly)

    server.mount("/playground", StaticFiles(directory=ASSETS))
    gradio.mount_gradio_app(
        server,
        build(roots),
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gradio.themes.Default(primary_hue="orange", font=FONT, font_mono=MONO),
        head=HEAD,
    )
    with _listen(port) as listening:
        say(f"http://{HOST}:{listening.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(server, log_level="warning")).run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    """A socket of loopback; ExperimentError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ExperimentError(
            f"port {port} of {HOST} cannot be had ({error.strerror}): give another --port."
        ) from error
    return listening
