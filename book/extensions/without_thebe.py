"""A Sphinx extension that takes Thebe out of the pages: nothing here uses it, and Jupyter Book 1 declares it twice, an error."""


def setup(app: object) -> dict:
    """Drop its scripts from every page."""
    app.connect("html-page-context", _drop, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _drop(_app: object, _page: str, _template: str, context: dict, _doctree: object) -> None:
    scripts = context.get("script_files", [])
    bodies = [getattr(script, "attributes", {}).get("body") or "" for script in scripts]
    context["script_files"] = [
        s for s, body in zip(scripts, bodies) if "thebe" not in f"{getattr(s, 'filename', '')}{body}".lower()
    ]
