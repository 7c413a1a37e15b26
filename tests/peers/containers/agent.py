"""What ECS's agent does with a task definition and ministack leaves out, between ministack and podman.

    agent.py LISTEN ENGINE AWS

LISTEN and ENGINE are paths of unix sockets: ministack speaks Docker's API to LISTEN, podman answers at ENGINE. AWS is
ministack's own address. Everything passes unchanged but for three calls.

Creating a task's container: ministack passes on image, command, environment and labels. The labels name the task
definition, and from that come entry point, user, read-only root, dropped capabilities, init process, memory and stop
timeout.

Stopping a container: ministack says five seconds; the task definition's stopTimeout counts.

Removing one: ministack does so at once. Its log is followed to the end before, as the awslogs driver does.

Two things are not as on Fargate, where every task has an address of its own. The container shares the host's network,
so that 127.0.0.1 is where Kafka and ministack listen. And because two tasks of a rollout then share its ports, each gets
a HEALTH_LISTEN of its own.
"""

import http.client
import http.server
import json
import re
import socket
import socketserver
import sys
import threading
import urllib.request

CREATE = re.compile(r"^(?:/v[0-9.]+)?/containers/create(?:\?|$)")
STOP = re.compile(r"^((?:/v[0-9.]+)?/containers/([0-9a-f]+)/stop)\?t=\d+$")
REMOVE = re.compile(r"^(?:/v[0-9.]+)?/containers/([0-9a-f]+)(?:\?|$)")
FOLLOW = re.compile(r"^(?:/v[0-9.]+)?/containers/([0-9a-f]+)/logs\?.*follow=1")
# Seconds for the rest of a log.
REST_OF_LOG_MAX = 5
FAMILY = "com.amazonaws.ecs.task-definition-family"
REVISION = "com.amazonaws.ecs.task-definition-version"
NAME = "com.amazonaws.ecs.container-name"
# Of one connection, not of the message: each side makes its own.
HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}


def container_definition(aws, labels):
    asked = urllib.request.Request(
        aws,
        json.dumps({"taskDefinition": f"{labels[FAMILY]}:{labels[REVISION]}"}).encode(),
        {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition",
            # ministack reads the region from it and checks nothing.
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecs/aws4_request",
        },
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
        definition = json.load(answer)["taskDefinition"]
    return next(found for found in definition["containerDefinitions"] if found["name"] == labels[NAME])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def completed(body, definition):
    """The request to create a container, with what the container's definition says besides."""
    linux = definition.get("linuxParameters", {})
    body["Entrypoint"] = definition.get("entryPoint")
    body["User"] = definition.get("user", "")
    body["StopTimeout"] = definition.get("stopTimeout", 30)
    body["Env"] = [*(body.get("Env") or []), f"HEALTH_LISTEN=127.0.0.1:{free_port()}"]
    body["HostConfig"] |= {
        "ReadonlyRootfs": definition.get("readonlyRootFilesystem", False),
        "CapDrop": linux.get("capabilities", {}).get("drop", []),
        "Init": linux.get("initProcessEnabled", False),
        "Memory": definition["memory"] << 20,
        "NetworkMode": "host",
        "ExtraHosts": ["host.docker.internal:127.0.0.1"],
    }
    return body


class Engine(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class Agent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine = aws = None
    # Seconds, by the container's id.
    stop_timeouts = {}
    # Ids of containers, once for each who follows its log.
    followed = []
    unfollowed = threading.Condition()

    def pass_on(self):
        body, timeout, answer = self.body(), None, None
        try:
            if self.command == "POST" and CREATE.match(self.path):
                asked = json.loads(body)
                if FAMILY in (asked.get("Labels") or {}):
                    definition = container_definition(self.aws, asked["Labels"])
                    timeout = definition.get("stopTimeout", 30)
                    body = json.dumps(completed(asked, definition)).encode()
            elif self.command == "POST" and (stop := STOP.match(self.path)):
                self.path = f"{stop[1]}?t={self.stop_timeouts.get(stop[2], 30)}"
            elif self.command == "DELETE" and (remove := REMOVE.match(self.path)):
                with self.unfollowed:
                    self.unfollowed.wait_for(lambda: remove[1] not in self.followed, REST_OF_LOG_MAX)
            answer = self.ask(body)
        except Exception as error:  # ministack is told, and tells it as the reason why the task stopped.
            self.log_error("%s %s: %r", self.command, self.path, error)
            said = json.dumps({"message": f"agent: {error!r}"}).encode()
            self.begin(500, [("Content-Type", "application/json")], iter([said]))
            return
        if timeout is not None and answer.status == 201:
            made = answer.read()
            self.stop_timeouts[json.loads(made)["Id"]] = timeout
            parts = iter([made])
        else:
            parts = iter(lambda: answer.read1(65536), b"")
        follow = FOLLOW.match(self.path)
        if follow:
            self.followed.append(follow[1])
        try:
            self.begin(answer.status, answer.getheaders(), parts)
        finally:
            answer.close()
            if follow:
                with self.unfollowed:
                    self.followed.remove(follow[1])
                    self.unfollowed.notify_all()

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = pass_on

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def ask(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection = Engine(self.engine)
        connection.request(self.command, self.path, body, headers | {"Connection": "close"})
        return connection.getresponse()

    def begin(self, status, headers, parts):
        """The answer, part by part as it comes: logs are followed through here."""
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if self.command == "HEAD" or status in (204, 304):
            self.end_headers()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def log_request(self, *_):
        """Only what goes wrong is worth a line."""

    def address_string(self):
        return "ministack"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def main():
    listen, Agent.engine, Agent.aws = sys.argv[1:]
    with Server(listen, Agent) as server:
        server.serve_forever()


main()
