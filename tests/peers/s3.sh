# Two S3 servers that we did not write, each where it is right: ministack keeps conditional writes atomic under a
# race, moto refuses parts under 5 MiB as S3 does. Both hold the bucket `landfall-tests`, empty.
# For the deployer's tests they are all of AWS: ministack has ECR, EventBridge, Lambda, ECS and CloudWatch, moto refuses
# what ECS refuses.
# shellcheck shell=bash disable=SC2154 # run_dir, python: set by tests/run

# begin_s3 MINISTACK MOTO
begin_s3() {
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
  export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
  unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
  mkdir -p "$run_dir/tmp"
  spawn ministack env BIND_HOST=127.0.0.1 GATEWAY_PORT="$1" MINISTACK_ACCOUNT_ID=123456789012 LOG_LEVEL=WARNING \
    TMPDIR="$run_dir/tmp" "$python" -c 'from ministack.app import main; main()'
  spawn moto env TMPDIR="$run_dir/tmp" "$python" -c 'from moto.server import main; main()' -H 127.0.0.1 -p "$2"
}

create_bucket() {
  "$python" - "http://127.0.0.1:$1" <<'PY'
import sys
import boto3, botocore.config
once = botocore.config.Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
boto3.client("s3", endpoint_url=sys.argv[1], config=once).create_bucket(Bucket="landfall-tests")
PY
}

await_s3() {
  if await ministack 60 port_open "$1" && await ministack 30 create_bucket "$1"; then
    export LANDFALL_TEST_S3_MINISTACK=http://127.0.0.1:$1
  else
    miss "S3 with atomic conditional writes" "ministack did not start"
  fi
  if await moto 60 port_open "$2" && await moto 30 create_bucket "$2"; then
    export LANDFALL_TEST_S3_STRICT=http://127.0.0.1:$2
  else
    miss "S3 that refuses small parts" "moto did not start"
  fi
}
