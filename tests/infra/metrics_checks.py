"""Alarms and dashboard show what the code publishes, all of it and nothing else."""

import json
import re

import template

STACK = template.Stack()

# Published and shown nowhere, with the reason. (None.)
NOT_SHOWN = {}

# What AWS publishes of its own, by namespace.
OF_AWS = {
    "AWS/Lambda": {"Errors", "Throttles", "Invocations", "Duration"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
    "AWS/ECS": {"CPUUtilization", "MemoryUtilization"},
    "AWS/Events": {"Invocations"},
}
DIMENSIONS_OF_AWS = {
    "AWS/Lambda": {"FunctionName": "landfall-shop-events-deployer"},
    "AWS/ECS": {"ClusterName": "landfall", "ServiceName": "landfall-shop-events"},
    "AWS/Events": {"RuleName": "landfall-shop-events-task-ended"},
}


def _section(heading):
    text = (template.ROOT / "README.md").read_text()
    return re.split(r"\n##+ ", text.split(f"\n{heading}\n", 1)[1])[0]


def _published():
    """(name, reason or None); README's tables are held against the code by tests of the crates."""
    found = set()
    for row in re.findall(r"^\| `landfall_[a-z_]+` \| `([A-Za-z]+)`", _section("## Metrics"), re.M):
        found.add((row, None))
    section = _section("### The deployer's metrics")
    reasons = {name: re.findall(r"`([a-z-]+)`", rest)
               for name, rest in re.findall(r"Reasons of `(\w+)`: ([^.]*)\.", section)}
    for name, by in re.findall(r"^\| `([A-Za-z]+)` \| \w+ \| ([a-z ]+) \|", section, re.M):
        if "total" in by:
            found.add((name, None))
        if "reason" in by:
            found |= {(name, reason) for reason in reasons[name]}
    return found


def the_tasks_follow_a_metric_that_the_worker_publishes():
    source = (template.ROOT / "deployer-lambda/src/aws/scaling.rs").read_text()
    name = re.search(r'"MetricName": "(\w+)"', source).group(1)
    assert (name, None) in _published()
    alarm = next(at for at in _alarms().values() if at.get("MetricName") == name)
    assert [at["Name"] for at in alarm["Dimensions"]] == re.findall(r'"Name": "(\w+)", "Value"', source)
    assert alarm["Statistic"] == re.search(r'"Statistic": "(\w+)"', source).group(1)


def _alarms():
    return {**STACK.of_type("AWS::CloudWatch::Alarm")}


def _of_alarm(alarm):
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"])]
    metrics = [at["MetricStat"]["Metric"] for at in alarm["Metrics"] if "MetricStat" in at]
    return [(at["Namespace"], at["MetricName"], at["Dimensions"]) for at in metrics]


def _dashboard():
    return json.loads(STACK.resources["Dashboard"]["DashboardBody"])


def _of_dashboard():
    for widget in _dashboard()["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], str):
                names = [part for part in metric[2:] if isinstance(part, str)]
                pairs = list(zip(names[::2], names[1::2]))
                yield metric[0], metric[1], [{"Name": name, "Value": value} for name, value in pairs]


def _shown():
    for alarm in _alarms().values():
        yield from _of_alarm(alarm)
    yield from _of_dashboard()


def every_metric_shown_is_published_with_these_dimensions():
    published = _published()
    assert len(published) > 40
    for namespace, name, dimensions in _shown():
        by = {at["Name"]: at["Value"] for at in dimensions}
        if namespace == "Landfall":
            assert by.pop("Pipeline") == "shop-events", name
            reason = by.pop("Reason", None)
            assert not by, f"{name} has no dimension {by}"
            assert (name, reason) in published, f"nothing publishes {name} by reason {reason}"
        else:
            assert name in OF_AWS[namespace], f"{namespace} {name}"
            if namespace in DIMENSIONS_OF_AWS:
                assert by == DIMENSIONS_OF_AWS[namespace]


def every_metric_published_is_shown():
    shown = {(name, {at["Name"]: at["Value"] for at in dimensions}.get("Reason"))
             for namespace, name, dimensions in _shown() if namespace == "Landfall"}
    hidden = _published() - shown
    assert hidden == set(NOT_SHOWN), "show it in the dashboard, or say in NOT_SHOWN why not"


def an_expression_names_only_metrics_beside_it():
    sets = [[(at["Id"], at.get("Expression")) for at in alarm["Metrics"]]
            for alarm in _alarms().values() if "Metrics" in alarm]
    for widget in _dashboard()["widgets"]:
        options = [metric[-1] for metric in widget["properties"].get("metrics", []) if isinstance(metric[-1], dict)]
        sets.append([(at["id"], at.get("expression")) for at in options if "id" in at])
    seen = 0
    for ids in sets:
        for _, expression in ids:
            names = re.findall(r"\b[a-z]\w*\b", expression or "")
            assert set(names) <= {name for name, _ in ids}, expression
            seen += bool(names)
    assert seen >= 5


def the_dashboard_lists_every_alarm_that_tells_somebody():
    widget, = (at for at in _dashboard()["widgets"] if at["type"] == "alarm")
    listed = sorted(arn.split(":alarm:")[1] for arn in widget["properties"]["alarms"])
    telling = [*_alarms().values(), *STACK.of_type("AWS::CloudWatch::CompositeAlarm").values()]
    assert listed == sorted(alarm["AlarmName"] for alarm in telling if "AlarmActions" in alarm)


def widgets_do_not_overlap_and_fit_in():
    taken = set()
    for widget in _dashboard()["widgets"]:
        cells = {(x, y) for x in range(widget["x"], widget["x"] + widget["width"])
                 for y in range(widget["y"], widget["y"] + widget["height"])}
        assert not cells & taken, widget["properties"]
        assert widget["x"] + widget["width"] <= 24
        taken |= cells


def missing_data_rings_only_where_silence_is_the_point():
    treated = {name: alarm["TreatMissingData"] for name, alarm in _alarms().items()}
    assert {name for name, how in treated.items() if how != "notBreaching"} == {"SilentAlarm"}
    assert "AlarmActions" not in STACK.resources["SilentAlarm"], "it is red while the service is stopped"


def windows_are_such_as_cloudwatch_takes():
    for name, alarm in _alarms().items():
        periods = {alarm["Period"]} if "Period" in alarm else {
            at["MetricStat"]["Period"] for at in alarm["Metrics"] if "MetricStat" in at}
        assert len(periods) == 1, f"{name}: one period for all metrics of an expression"
        period, = periods
        assert period % 60 == 0 and period * alarm["EvaluationPeriods"] <= 86_400, name
        assert 1 <= alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], name


def a_release_is_taken_back_by_two_alarms_and_only_these_wake_the_deployer():
    service = json.loads((template.ROOT / "taskdefs/worker.service.json").read_text())
    variables = STACK.resources["Deployer"]["Environment"]["Variables"]
    watched = [variables["FILL_" + hole.strip("${}")]
               for hole in service["deploymentConfiguration"]["alarms"]["alarmNames"]]
    assert watched == ["landfall-shop-events-release-damage", "landfall-shop-events-release-no-progress"]
    prefix = STACK.resources["AlarmRule"]["EventPattern"]["detail"]["alarmName"][0]["prefix"]
    names = [alarm["AlarmName"] for alarm in _alarms().values()]
    names += [alarm["AlarmName"] for alarm in STACK.of_type("AWS::CloudWatch::CompositeAlarm").values()]
    assert sorted(name for name in names if name.startswith(prefix)) == watched


def the_alarms_bounds_are_above_what_the_worker_does_by_default():
    """Between two commits there is always lag: the defaults must fit the worker's, as README's table has them."""
    settings = dict(re.findall(r"^\| `([a-z._]+)` \| `\"(\w+)\"` \|", _section("## Settings"), re.M))
    seconds = {name: int(value[:-1]) * {"s": 1, "m": 60}[value[-1]] for name, value in settings.items()
               if re.fullmatch(r"\d+[sm]", value)}
    bounds = {name: at["Default"] for name, at in template.load()["Parameters"].items() if "Default" in at}
    assert bounds["LagSecondsMax"] >= 2 * seconds["output.age_max"] > 0
    assert bounds["NoProgressSeconds"] >= max(2 * seconds["output.age_max"], seconds["health.no_progress_max"])
    # Every alarm over the worker's metrics has periods that a report falls into.
    assert seconds["metrics.interval"] <= 60
