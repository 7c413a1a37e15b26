"""The stack's alarms as CloudWatch evaluates them, over metrics of a made-up hour or two.

What AWS documents ("Evaluating an alarm", "How alarms treat missing data") for whole periods: M of the last N must
breach, a missing one counts as TreatMissingData says. Left out is that CloudWatch may take older data points in place
of missing ones; with `notBreaching` that can only ring less. Neighbours: alarms_checks.py. Pure.
"""

import re

STATISTICS = {
    "Sum": sum, "Maximum": max, "Minimum": min, "SampleCount": len, "Average": lambda values: sum(values) / len(values),
}
OPERATORS = {
    "GreaterThanOrEqualToThreshold": lambda value, bound: value >= bound,
    "GreaterThanThreshold": lambda value, bound: value > bound,
    "LessThanThreshold": lambda value, bound: value < bound,
    "LessThanOrEqualToThreshold": lambda value, bound: value <= bound,
}


class Metrics:
    """Values by minute: of the worker, of the deployer, of AWS."""

    def __init__(self):
        self.values = {}

    def put(self, name, minute, value, namespace="Landfall"):
        self.values.setdefault((namespace, name), {}).setdefault(minute, []).append(value)

    def of(self, namespace, name, minutes):
        by_minute = self.values.get((namespace, name), {})
        return [value for minute in minutes for value in by_minute.get(minute, [])]


def _datapoint(metrics, metric, statistic, minutes):
    values = metrics.of(metric["Namespace"], metric["MetricName"], minutes)
    return STATISTICS[statistic](values) if values else None


def _calculated(expression, known):
    """IF, OR and arithmetic: what the stack uses. A name without a data point makes the result missing."""
    names = set(re.findall(r"\b[a-z]\w*\b", expression))
    if any(known[name] is None for name in names):
        return None
    python = re.sub(r"\bOR\b", "or", expression)
    python = re.sub(r"\bIF\(", "_if(", python)
    # CloudWatch has no division by zero: the data point is missing. Both branches of IF are calculated.
    divides = re.search(r"/ \(([^)]*)\)", python)
    if divides and eval(divides.group(1), {}, dict(known)) == 0:  # noqa: S307: the template's own text
        python = re.sub(r"/ \([^)]*\)", "/ 1", python)
    return float(eval(python, {"_if": lambda test, yes, no: yes if test else no}, dict(known)))  # noqa: S307


def state(alarm, metrics, now):
    """Whether the alarm rings after minute `now` has ended."""
    if "MetricName" in alarm:
        period = alarm["Period"] // 60
    else:
        period = alarm["Metrics"][1]["MetricStat"]["Period"] // 60
    # Periods begin at whole multiples; one that is not over is not looked at.
    newest = (now + 1) // period
    breaching = 0
    for at in range(newest - alarm["EvaluationPeriods"], newest):
        minutes = range(at * period, (at + 1) * period)
        if "MetricName" in alarm:
            value = _datapoint(metrics, alarm, alarm["Statistic"], minutes)
        else:
            known = {each["Id"]: _datapoint(metrics, each["MetricStat"]["Metric"], each["MetricStat"]["Stat"], minutes)
                     for each in alarm["Metrics"] if "MetricStat" in each}
            value = _calculated(next(each["Expression"] for each in alarm["Metrics"] if "Expression" in each), known)
        if value is None:
            breaching += alarm["TreatMissingData"] == "breaching"
        else:
            breaching += OPERATORS[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))
    return breaching >= alarm["DatapointsToAlarm"]


def rung(alarms, composites, metrics, minutes):
    """Name of every alarm that tells somebody and rang in these minutes, with the first minute in which it did."""
    first = {}
    for now in minutes:
        states = {alarm["AlarmName"]: state(alarm, metrics, now) for alarm in alarms}
        for composite in composites:
            parts = re.findall(r'ALARM\("([^"]+)"\)', composite["AlarmRule"])
            assert composite["AlarmRule"] == " AND ".join(f'ALARM("{part}")' for part in parts)
            states[composite["AlarmName"]] = all(states[part] for part in parts)
        telling = {alarm["AlarmName"] for alarm in [*alarms, *composites] if "AlarmActions" in alarm}
        for name, rings in states.items():
            if rings and name in telling:
                first.setdefault(name, now)
    return first
