"""What is counted can be read by a parser of Prometheus' text format."""

import re

from recsys_lora.serving.metrics import Metrics

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"]*",?)*)\})? (\S+)')


def test_counts_buckets_and_gauges_are_those_of_a_naive_count():
    metrics, seconds = Metrics(), [0.004, 0.005, 0.03, 100.0]
    for value in seconds:
        metrics.answered("/score", 200, value)
    metrics.answered("/score", 404, 0.2)
    metrics.batched(3)
    lines = metrics.text({"waiting_requests": ("Waiting.", 2.0)}).splitlines()
    values = {}
    for line in lines:
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) recsys_lora_[a-z_]+ .+", line)
        else:
            name, labels, value = LINE.fullmatch(line).groups()
            values[name.removeprefix("recsys_lora_"), labels] = float(value)
    assert values["requests_total", 'route="/score",status="200"'] == 4
    assert values["requests_total", 'route="/score",status="404"'] == 1
    for bound in ("0.005", "0.05", "30"):
        count = sum(value <= float(bound) for value in [*seconds, 0.2])
        assert values["request_seconds_bucket", f'route="/score",le="{bound}"'] == count
    assert values["request_seconds_bucket", 'route="/score",le="+Inf"'] == 5
    assert values["request_seconds_count", 'route="/score"'] == 5
    assert abs(values["request_seconds_sum", 'route="/score"'] - 100.239) < 1e-6
    assert values["batch_requests_bucket", 'le="4"'] == 1
    assert values["batch_requests_bucket", 'le="2"'] == 0
    assert values["waiting_requests", None] == 2
