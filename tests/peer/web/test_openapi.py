"""The description of the local API is made from its table, and holds."""

import json

from peer.web.api import ROUTES
from peer.web.openapi import document


def test_the_description_lists_exactly_the_routes() -> None:
    """The OpenAPI document is made from the table and refers to schemas that exist."""
    described_whole = json.loads(json.dumps(document(ROUTES, "0.1.0")))

    described = {
        (method.upper(), path) for path, item in described_whole["paths"].items() for method in item
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    references = json.dumps(described_whole).split('"#/components/schemas/')[1:]
    names = {reference.partition('"')[0] for reference in references}
    assert names <= set(described_whole["components"]["schemas"])
    query = described_whole["paths"]["/api/v1/comparison"]["get"]["parameters"]
    assert [parameter["name"] for parameter in query] == ["filter", "sort", "offset", "limit"]
