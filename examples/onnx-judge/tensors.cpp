// Contents of tensors as libprotobuf holds them.
#include "tensors.h"

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace {

struct Type {
  const char* name;
  int bits;  // 0: strings
};

/// By TensorProto.DataType.
const Type types[] = {
    {"", 0},           {"float32", 32},     {"uint8", 8},       {"int8", 8},          {"uint16", 16},
    {"int16", 16},     {"int32", 32},       {"int64", 64},      {"string", 0},        {"bool", 8},
    {"float16", 16},   {"float64", 64},     {"uint32", 32},     {"uint64", 64},       {"complex64", 64},
    {"complex128", 128}, {"bfloat16", 16},  {"float8e4m3fn", 8}, {"float8e4m3fnuz", 8}, {"float8e5m2", 8},
    {"float8e5m2fnuz", 8}, {"uint4", 4},    {"int4", 4},        {"float4e2m1", 4},    {"float8e8m0", 8},
    {"uint2", 2},      {"int2", 2},
};

const Type* known(int32_t type) {
  return type > 0 && type < static_cast<int32_t>(sizeof types / sizeof *types) ? &types[type] : nullptr;
}

[[noreturn]] void contradicts(const std::string& what) { throw std::runtime_error("contradiction: " + what); }

/// The number of elements, at most what an address holds.
int64_t count(const google::protobuf::RepeatedField<int64_t>& dims) {
  int64_t result = 1;
  bool empty = false;
  for (int64_t size : dims) {
    if (size < 0) contradicts("a negative size");
    empty |= size == 0;
  }
  if (empty) return 0;
  for (int64_t size : dims)
    if (__builtin_mul_overflow(result, size, &result) || result > (int64_t{1} << 56)) contradicts("a shape too large");
  return result;
}

std::string external(const onnx::TensorProto& tensor, const std::string& path, int64_t needed) {
  std::string location;
  int64_t offset = 0;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = std::stoll(entry.value());
  }
  std::ifstream file(path.substr(0, path.rfind('/') + 1) + location, std::ios::binary);
  if (!file.seekg(0, std::ios::end) || offset < 0 || file.tellg() < offset || file.tellg() - std::streamoff(offset) < needed)
    contradicts("external data '" + location + "' is too short");
  std::string data(static_cast<size_t>(needed), '\0');
  file.seekg(offset);
  file.read(&data[0], needed);
  return data;
}

/// The low bytes of each number.
template <class Numbers>
std::string low(const Numbers& numbers, int bytes) {
  std::string data;
  for (auto number : numbers) data.append(reinterpret_cast<const char*>(&number), static_cast<size_t>(bytes));
  return data;
}

/// Little-endian elements as raw_data holds them.
std::string packed(const onnx::TensorProto& t, const Type& type, const std::string& path) {
  using T = onnx::TensorProto;
  const int64_t needed = (count(t.dims()) * type.bits + 7) / 8;
  if (t.data_location() == T::EXTERNAL) return external(t, path, needed);
  std::string data;
  switch (t.data_type()) {
    case T::FLOAT: case T::COMPLEX64: data = low(t.float_data(), 4); break;
    case T::DOUBLE: case T::COMPLEX128: data = low(t.double_data(), 8); break;
    case T::INT64: data = low(t.int64_data(), 8); break;
    case T::UINT32: data = low(t.uint64_data(), 4); break;
    case T::UINT64: data = low(t.uint64_data(), 8); break;
    default: data = low(t.int32_data(), type.bits > 8 ? type.bits / 8 : 1);
  }
  if (!t.raw_data().empty()) {
    if (!data.empty()) contradicts("raw and typed data");
    data = t.raw_data();
  }
  if (static_cast<int64_t>(data.size()) != needed) contradicts("data of another size than the shape's");
  return data;
}

/// The elements one after the other, at least a byte each.
std::string elements(const onnx::TensorProto& t, const Type& type, const std::string& path) {
  const int64_t number = count(t.dims());
  if (type.bits == 0) {
    if (t.string_data_size() != number || !t.raw_data().empty()) contradicts("another number of strings than the shape's");
    return std::string(static_cast<size_t>(number), '\0');
  }
  std::string data = packed(t, type, path);
  if (t.data_type() == onnx::TensorProto::BOOL)
    for (char& c : data) c = c != 0;
  if (type.bits >= 8) return data;
  const int mask = (1 << type.bits) - 1, sign = type.name[0] == 'i' ? 1 << (type.bits - 1) : 0;
  std::string result;
  for (int64_t i = 0; i < number; ++i) {
    const int64_t bit = i * type.bits;
    const int code = static_cast<unsigned char>(data[static_cast<size_t>(bit / 8)]) >> (bit % 8) & mask;
    result += static_cast<char>((code ^ sign) - sign);
  }
  return result;
}

std::string described(const Type& type, const google::protobuf::RepeatedField<int64_t>& dims, const std::string& data) {
  uint32_t crc = ~0u;
  for (unsigned char c : data) {
    crc ^= c;
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? 0xEDB88320u ^ crc >> 1 : crc >> 1;
  }
  char digest[9];
  snprintf(digest, sizeof digest, "%08x", ~crc);
  std::string shape;
  for (int64_t size : dims) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
  return std::string(type.name) + " [" + shape + "] " + std::to_string(data.size()) + " " + digest;
}

}  // namespace

std::string typeName(int32_t type) { return known(type) ? known(type)->name : ""; }

std::string tensorText(const onnx::TensorProto& tensor, const std::string& path) {
  const Type* type = known(tensor.data_type());
  return type ? described(*type, tensor.dims(), elements(tensor, *type, path)) : "";
}

std::string sparseText(const onnx::SparseTensorProto& sparse, const std::string& path) {
  const Type* type = known(sparse.values().data_type());
  if (!type || !known(sparse.indices().data_type())) return "";
  const std::string values = elements(sparse.values(), *type, path);
  const int64_t stored = count(sparse.values().dims()), total = count(sparse.dims()), rank = sparse.dims_size();
  const int64_t width = type->bits > 8 ? type->bits / 8 : 1;
  // What our reader leaves as it is: a few bytes that ask for any amount of memory.
  if (type->bits == 0 || total > (int64_t{1} << 31) / width || total / 4096 > std::max<int64_t>(stored, 4096)) return "";
  const std::string indices = elements(sparse.indices(), types[onnx::TensorProto::INT64], path);
  const bool flat = sparse.indices().dims_size() == 1;
  std::string dense(static_cast<size_t>(total * width), '\0');
  for (int64_t entry = 0; entry < stored; ++entry) {
    int64_t place = 0;
    for (int64_t axis = 0; axis < (flat ? 1 : rank); ++axis) {
      int64_t index;
      memcpy(&index, &indices.at(static_cast<size_t>((entry * (flat ? 1 : rank) + axis) * 8)), 8);
      place = flat ? index : place * sparse.dims(static_cast<int>(axis)) + index;
    }
    if (place < 0 || place >= total) contradicts("an index outside of the tensor");
    memcpy(&dense[static_cast<size_t>(place * width)], &values[static_cast<size_t>(entry * width)], static_cast<size_t>(width));
  }
  return described(*type, sparse.dims(), dense);
}
