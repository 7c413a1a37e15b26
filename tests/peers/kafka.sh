# Apache Kafka, one JVM in KRaft's combined mode: what we claim of Kafka is tested against Kafka.
# shellcheck shell=bash disable=SC2154 # root, cache, run_dir, python: set by tests/run

# Sets `kafka_jars`.
install_kafka() {
  local pom=$root/tests/peers/kafka/pom.xml
  local jars
  jars=$cache/kafka-$(cksum <"$pom" | tr -s ' ' '-')
  have java || { say "no java on the PATH"; return 1; }
  if [[ ! -f $jars/complete ]]; then
    have mvn || { say "no mvn on the PATH"; return 1; }
    say "fetching Apache Kafka by Maven (once)"
    rm -rf "$jars"
    mvn -B -q -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars" >&2 || return 1
    touch "$jars/complete"
  fi
  kafka_jars=$jars
}

# Clients of the listener LINE are sent to a port where nobody listens until a test puts its own proxy there and
# passes them on: a network to cut.
#
# Short waits, because tests wait for them: rebalances, sessions, retention, compaction. The SCRAM listener knows
# two users: `landfall` may do everything, `stranger` nothing.
kafka_properties() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=OPEN://127.0.0.1:$1,SCRAM://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3,LINE://127.0.0.1:$4
advertised.listeners=OPEN://127.0.0.1:$1,SCRAM://127.0.0.1:$2,LINE://127.0.0.1:$5
listener.security.protocol.map=OPEN:PLAINTEXT,SCRAM:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,LINE:PLAINTEXT
inter.broker.listener.name=OPEN
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:landfall
log.dirs=$run_dir/kafka
auto.create.topics.enable=false
delete.topic.enable=true
group.initial.rebalance.delay.ms=100
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=100
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
PROPERTIES
}

# begin_kafka OPEN SCRAM CONTROLLER LINE LINE_ADVERTISED: formats the storage and starts the broker.
begin_kafka() {
  local java_options=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$kafka_jars/*")
  kafka_properties "$@" >"$run_dir/kafka.properties"
  if ! java "${java_options[@]}" -Xmx128m kafka.tools.StorageTool format --ignore-formatted \
    --cluster-id bGFuZGZhbGwtdGVzdHMtMQ --config "$run_dir/kafka.properties" \
    --add-scram 'SCRAM-SHA-256=[name=landfall,password=landfall-secret]' \
    --add-scram 'SCRAM-SHA-512=[name=landfall,password=landfall-secret]' \
    --add-scram 'SCRAM-SHA-256=[name=stranger,password=stranger-secret]' \
    --add-scram 'SCRAM-SHA-512=[name=stranger,password=stranger-secret]' \
    >"$run_dir/kafka-format.log" 2>&1; then
    tail -n 20 "$run_dir/kafka-format.log" >&2
    return 0 # await_kafka says that there is no broker.
  fi
  spawn kafka java "${java_options[@]}" -Xms128m -Xmx384m kafka.Kafka "$run_dir/kafka.properties"
}

# await_kafka OPEN SCRAM CONTROLLER LINE LINE_ADVERTISED
await_kafka() {
  if await kafka 90 port_open "$1" && await kafka 30 port_open "$2"; then
    export LANDFALL_TEST_KAFKA=127.0.0.1:$1
    export LANDFALL_TEST_KAFKA_SCRAM=127.0.0.1:$2
    export LANDFALL_TEST_KAFKA_USER=landfall LANDFALL_TEST_KAFKA_PASSWORD=landfall-secret
    export LANDFALL_TEST_KAFKA_LINE=127.0.0.1:$5,127.0.0.1:$4
  else
    miss "Apache Kafka" "it did not start"
  fi
}
