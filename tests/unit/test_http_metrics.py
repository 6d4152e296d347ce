"""Metrics of mode http: the workers' documents summed up, and nonsense left out."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from cli.run.http_metrics import http_metrics
from lb7.measures import Measures, bucket_of


def measured(status: int, seconds: float) -> dict[str, object]:
    measures = Measures()
    measures.count(status, bucket_of(seconds), seconds, 3, 5)
    return dict(measures.document())


def worker(status: int, seconds: float) -> dict[str, object]:
    measures = measured(status, seconds)
    listener = {"connections": {"active": 2}, "reasons": {"no-backend": 1}, **measures, "routes": {"all": measures}}
    backend = {"failures": 1, "retries": 4, **measures}
    service = {"in_flight": 1, "waiting": 0, "backends": {"10.0.0.1:80": backend}}
    return {"http": {"listeners": {"web": listener}, "services": {"ping": service}}}


def text(*statistics: dict[str, object]) -> str:
    class Fixed(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            return http_metrics(statistics)

    registry = CollectorRegistry()
    registry.register(Fixed())
    return generate_latest(registry).decode()


def test_workers_are_summed_up() -> None:
    lines = text(worker(200, 0.004), worker(503, 0.004), worker(200, 20.0)).splitlines()
    for line in (
        'lbctl_http_listener_requests_total{class="2xx",listener="web"} 2.0',
        'lbctl_http_listener_requests_total{class="5xx",listener="web"} 1.0',
        'lbctl_http_route_duration_seconds_bucket{le="0.0025",listener="web",route="all"} 0.0',
        'lbctl_http_route_duration_seconds_bucket{le="0.005",listener="web",route="all"} 2.0',
        'lbctl_http_route_duration_seconds_bucket{le="+Inf",listener="web",route="all"} 3.0',
        'lbctl_http_backend_bytes_total{backend="10.0.0.1:80",direction="out",service="ping"} 15.0',
        'lbctl_http_backend_retries_total{backend="10.0.0.1:80",service="ping"} 12.0',
        'lbctl_http_listener_connections{listener="web"} 6.0',
        'lbctl_http_failures_total{listener="web",reason="no-backend"} 3.0',
        'lbctl_http_service_in_flight{service="ping"} 3.0',
    ):
        assert line in lines


def test_nonsense_counts_as_nothing() -> None:
    nonsense = [{"http": value} for value in (None, [], {"listeners": 3}, {"listeners": {"web": {"latency": 7}}})]
    assert 'lbctl_http_listener_requests_total{class="2xx",listener="web"} 1.0' in text(worker(200, 0.1), *nonsense)


def test_no_worker_of_http_no_metrics() -> None:
    assert text({"backends": []}) == ""
