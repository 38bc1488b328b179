"""The report of a line of research: composed from the thread's state, its citations checked, written as Markdown."""

from graph.report.compose import ReportMaterial, compose
from graph.report.markdown import markdown_of
from graph.report.safety import inert
from graph.report.shape import Report

__all__ = ["Report", "ReportMaterial", "compose", "compose_report", "inert", "markdown_of"]


def compose_report(material: ReportMaterial) -> str:
    """The report as Markdown, with a line break at its end."""
    return markdown_of(compose(material))
