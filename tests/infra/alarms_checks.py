"""What rings and what does not, in the hours that a pipeline has: by the alarms as the stack has them."""

import pytest

import alarms
import template

STACK = template.Stack()
ALARMS = list(STACK.of_type("AWS::CloudWatch::Alarm").values())
COMPOSITES = list(STACK.of_type("AWS::CloudWatch::CompositeAlarm").values())
END = 150


def _rung(metrics):
    first = alarms.rung(ALARMS, COMPOSITES, metrics, range(END))
    return {name.removeprefix("landfall-shop-events-"): minute for name, minute in first.items()}


def _beat(metrics, minute, **figures):
    """What a worker sends every minute, by worker/src/metrics: counters at zero and gauges as they stand."""
    usual = {"RecordsRead": 0, "RecordsWritten": 0, "RecordsDeadLettered": 0, "BytesIn": 0, "BytesOut": 0, "Files": 0,
             "LagRecords": 0, "LagSeconds": 0, "SecondsWithoutProgress": 0, "BufferedBytes": 0, "KafkaUnreachable": 0,
             "StoreUnreachable": 0}
    for name, value in {**usual, **figures}.items():
        metrics.put(name, minute, value)


def _busy(metrics, minutes):
    """Data all the time, a commit every five minutes: lag and time without progress are saws."""
    for minute in minutes:
        age = minute % 5 * 60
        written = {"RecordsWritten": 5000, "Files": 3} if age == 0 else {}
        _beat(metrics, minute, RecordsRead=1000, LagRecords=1000, LagSeconds=age + 20, SecondsWithoutProgress=age, **written)


def before_the_first_release_nothing_rings():
    assert _rung(alarms.Metrics()) == {}


def on_a_quiet_topic_nothing_rings():
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute)
    assert _rung(metrics) == {}


def while_data_flows_nothing_rings():
    metrics = alarms.Metrics()
    _busy(metrics, range(END))
    assert _rung(metrics) == {}


def when_it_is_stopped_on_purpose_nothing_rings_and_not_when_it_starts_again():
    """ECS stops the task: no `task-ended`. After the start the backlog is caught up within a quarter of an hour."""
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 40))
    for minute in range(100, 112):
        _beat(metrics, minute, RecordsRead=9000, RecordsWritten=9000, Files=3, LagSeconds=3600 - 300 * (minute - 100))
    _busy(metrics, range(112, END))
    assert _rung(metrics) == {}


def a_deployment_rings_nothing():
    """The old task drains while the new one begins; one flush is overtaken; a task is stopped by ECS."""
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 62))
    _busy(metrics, range(60, END))
    metrics.put("Fenced", 61, 1)
    metrics.put("DroppedBatches", 61, 1)
    for name, minute in (("Deployments", 60), ("PushToRunningSeconds", 61), ("DeploymentsHealthy", 76)):
        metrics.put(name, minute, 1)
    assert _rung(metrics) == {}


def a_deployment_of_the_only_task_that_stops_it_first_rings_nothing():
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 60))
    _busy(metrics, range(64, END))
    assert _rung(metrics) == {}


def a_task_that_crashes_once_and_is_replaced_rings_nothing():
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 60))
    metrics.put("Invocations", 60, 1, "AWS/Events")
    _busy(metrics, range(63, END))
    assert _rung(metrics) == {}


def a_failed_look_that_is_tried_again_rings_nothing():
    metrics = alarms.Metrics()
    _busy(metrics, range(END))
    metrics.put("Errors", 50, 1, "AWS/Lambda")
    metrics.put("Errors", 50, 1)
    metrics.put("Throttles", 50, 3, "AWS/Lambda")
    metrics.put("Blocked", 50, 1)
    assert _rung(metrics) == {}


def one_bad_record_on_a_quiet_topic_rings_nothing():
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute, **({"RecordsDeadLettered": 1, "Files": 1} if minute == 70 else {}))
    assert _rung(metrics) == {}


def an_outage_of_kafka_rings_for_kafka_and_takes_no_release_back():
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 60))
    for minute in range(60, 80):
        _beat(metrics, minute, KafkaUnreachable=1, SecondsWithoutProgress=60 * (minute - 58), LagSeconds=60)
    # Its end starts the time without progress anew.
    for minute in range(80, 84):
        _beat(metrics, minute, SecondsWithoutProgress=60 * (minute - 79), LagSeconds=1300)
    _busy(metrics, range(85, END))
    assert _rung(metrics) == {"kafka-unreachable": 64}


def an_outage_of_s3_rings_for_s3_and_takes_no_release_back():
    metrics = alarms.Metrics()
    for minute in range(END):
        down = 60 <= minute < 80
        _beat(metrics, minute, StoreUnreachable=int(down), SecondsWithoutProgress=60 * (minute - 58) if down else 0,
              LagSeconds=60 * (minute - 58) if down else 0)
    assert _rung(metrics) == {"store-unreachable": 64}


def a_worker_that_stands_still_is_told_within_a_quarter_of_an_hour():
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 60))
    for minute in range(60, END):
        _beat(metrics, minute, RecordsRead=0, SecondsWithoutProgress=60 * (minute - 59), LagSeconds=60 * (minute - 58))
    told = _rung(metrics)
    assert set(told) == {"release-no-progress", "lag"}
    assert told["release-no-progress"] <= 60 + 12


def a_worker_that_is_too_slow_has_lag_and_is_not_taken_back():
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute, RecordsRead=1000, RecordsWritten=1000, Files=3, LagSeconds=20 * minute)
    assert set(_rung(metrics)) == {"lag"}


def a_crash_loop_is_told_within_a_quarter_of_an_hour():
    metrics = alarms.Metrics()
    _busy(metrics, range(0, 60))
    for minute in range(60, END, 12):
        metrics.put("Invocations", minute, 1, "AWS/Events")
    told = _rung(metrics)
    assert set(told) == {"no-running-task"} and told["no-running-task"] <= 60 + 15


def a_first_release_that_cannot_start_is_told():
    metrics = alarms.Metrics()
    for minute in range(60, END, 12):
        metrics.put("Invocations", minute, 1, "AWS/Events")
    assert set(_rung(metrics)) == {"no-running-task"}


def a_bad_release_is_told_and_the_old_task_goes_on():
    """The new task crashes beside the old one: what ends is counted, but nothing is silent."""
    metrics = alarms.Metrics()
    _busy(metrics, range(END))
    for minute in (60, 62):
        metrics.put("Invocations", minute, 1, "AWS/Events")
    metrics.put("Rollbacks", 63, 1)
    assert set(_rung(metrics)) == {"rollback"}


def two_writers_on_one_ledger_are_told():
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute, RecordsWritten=10)
        if minute >= 60:
            metrics.put("Fenced", minute, 1)
    assert set(_rung(metrics)) == {"fenced"}


def a_schema_that_does_not_fit_is_told():
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute, RecordsWritten=900 if minute % 5 == 0 else 0,
              RecordsDeadLettered=100 if minute % 5 == 0 and minute >= 60 else 0)
    assert set(_rung(metrics)) == {"dead-letters"}


@pytest.mark.parametrize("name, namespace, minutes, alarm", [
    ("Damage", "Landfall", [70], "release-damage"),
    ("RecordsLost", "Landfall", [70], "records-lost"),
    ("Pages", "Landfall", [70], "deployment-failed"),
    ("Rollbacks", "Landfall", [70], "rollback"),
    ("EventsLost", "Landfall", [70], "push-events-lost"),
    # As the deployer tries again: after 5, 10, 20 and 40 minutes.
    ("Blocked", "Landfall", [60, 65, 75, 95, 135], "deployment-stuck"),
    ("Errors", "AWS/Lambda", range(60, 90, 5), "deployer-errors"),
    ("Errors", "Landfall", range(60, 90, 5), "deployer-trouble"),
    ("Throttles", "AWS/Lambda", range(60, 90, 5), "deployer-throttled"),
])
def what_happens_is_told(name, namespace, minutes, alarm):
    metrics = alarms.Metrics()
    for minute in range(END):
        _beat(metrics, minute)
    for minute in minutes:
        metrics.put(name, minute, 1, namespace)
    assert set(_rung(metrics)) == {alarm}


def a_message_in_a_queue_is_told():
    metrics = alarms.Metrics()
    for minute in range(70, END):
        metrics.put("ApproximateNumberOfMessagesVisible", minute, 1, "AWS/SQS")
    # Both queues have this metric, which the evaluation above does not tell apart by dimension.
    assert set(_rung(metrics)) == {"undelivered-events", "failed-invocations"}


def every_alarm_rings_in_one_of_these_hours():
    source = open(__file__).read()
    telling = [at["AlarmName"].removeprefix("landfall-shop-events-") for at in [*ALARMS, *COMPOSITES] if "AlarmActions" in at]
    assert [name for name in telling if f'"{name}"' not in source] == []
