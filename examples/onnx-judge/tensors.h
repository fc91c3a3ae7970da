#pragma once
#include <onnx/onnx_pb.h>

#include <string>

/// The name of an element type (TensorProto.DataType, newer ones as well); "" for one that our reader does not know.
std::string typeName(int32_t type);

/// Type, shape, byte count and CRC-32 of the contents, sub-byte elements one byte each; "" for a type that is not known. Throws
/// what our reader must not accept: contents that are not as many as the shape says. `path` is the model's file.
std::string tensorText(const onnx::TensorProto& tensor, const std::string& path);

/// The same of the dense tensor that a sparse one stands for; "" for one that is out of proportion, too.
std::string sparseText(const onnx::SparseTensorProto& sparse, const std::string& path);
