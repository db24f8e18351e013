#!/bin/sh
# Generates src/onnx/onnx_pb.ts from scripts/onnx/onnx-ml.proto, which is the file of the same name in the onnx 1.23.2
# package on PyPI (Apache-2.0). Needs only the development dependencies.
set -eu
cd "$(dirname "$0")/.."
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
npx buf generate scripts/onnx --template "{\"version\":\"v2\",\"plugins\":[{\"local\":\"protoc-gen-es\",\"out\":\"$target\",
  \"opt\":[\"target=ts\",\"erasable_syntax=true\",\"elide_plugin_version=true\"]}]}"
mv "$target/onnx-ml_pb.ts" src/onnx/onnx_pb.ts
