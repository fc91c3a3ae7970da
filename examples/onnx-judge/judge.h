#pragma once
#include <onnx/onnx_pb.h>

#include <string>

struct Verdict {
  enum Kind { valid, invalid, beyond } kind;
  std::string why;
};

/// The model as libprotobuf parses it; throws when it refuses.
onnx::ModelProto read(const std::string& path);

/// The text that Tests/CetONNXTests/ModelDump.swift makes of our reader's model. `path` says where external data lies.
std::string dumped(const onnx::ModelProto& model, const std::string& path);
