"""Pages for people, which load nothing from elsewhere: the API's documentation."""

from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FILES = "/docs/files"


def mount(app: FastAPI) -> None:
    """Serve ``/docs``, an application of the browser's over ``/openapi.json``; relative, so that any prefix will do."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs/files/swagger-ui-bundle.js",
            swagger_css_url="docs/files/swagger-ui.css",
            swagger_favicon_url="docs/files/favicon.png",
        )

    files = resources.files("fastapi_offline") / "static"
    app.mount(_FILES, StaticFiles(directory=str(files)), name="docs-files")
