// The model as text, field by field.
#include <google/protobuf/reflection.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "judge.h"
#include "tensors.h"

namespace {

using google::protobuf::UnknownField;

/// A field that libonnx 1.12 does not have yet: of this version's message, or the last one that it put aside.
template <class Message>
std::string newerString(const Message& message, int number) {
  if (const auto* field = Message::descriptor()->FindFieldByNumber(number))
    return message.GetReflection()->GetString(message, field);
  std::string text;
  const auto& fields = message.unknown_fields();
  for (int i = 0; i < fields.field_count(); ++i)
    if (fields.field(i).number() == number && fields.field(i).type() == UnknownField::TYPE_LENGTH_DELIMITED)
      text = fields.field(i).length_delimited();
  return text;
}

std::string canonical(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

std::string quoted(const std::string& text) { return "'" + text + "'"; }

template <class Names>
std::string listed(const Names& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : " ") + quoted(name);
  return text;
}

std::string hex(const std::string& bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char c : bytes) (text += digits[c >> 4]) += digits[c & 15];
  return text;
}

std::string hex(float value) {
  std::string bytes(reinterpret_cast<const char*>(&value), 4);
  std::reverse(bytes.begin(), bytes.end());
  return hex(bytes);
}

template <class Values, class Text>
std::string joined(const Values& values, const char* separator, Text text) {
  std::string result;
  bool first = true;
  for (const auto& value : values) {
    if (!first) result += separator;
    first = false;
    result += text(value);
  }
  return result;
}

class Dump {
 public:
  Dump(const std::string& path) : path(path) {}
  std::ostringstream out;

  void add(const onnx::ModelProto& model) {
    out << "ir " << model.ir_version() << "\nproducer " << quoted(model.producer_name()) << "\n";
    add(model.opset_import(), "");
    add(model.graph(), "");
    for (const auto& function : model.functions()) add(function);
    for (const auto& entry : model.metadata_props())
      out << "metadata " << quoted(entry.key()) << " " << quoted(entry.value()) << "\n";
  }

 private:
  const std::string path;

  template <class Imports>
  void add(const Imports& imports, const std::string& indent) {
    std::map<std::string, int64_t> versions;
    for (const auto& import : imports) versions[canonical(import.domain())] = import.version();
    for (const auto& [domain, version] : versions) out << indent << "opset " << quoted(domain) << " " << version << "\n";
  }

  void add(const onnx::FunctionProto& function) {
    out << "function " << quoted(function.name()) << " " << quoted(canonical(function.domain())) << " "
        << quoted(newerString(function, 13)) << "\n";
    out << "  " << listed(function.input()) << " -> " << listed(function.output()) << "\n";
    out << "  attributes " << listed(function.attribute()) << "\n";
    add(function.opset_import(), "  ");
    std::map<std::string, onnx::AttributeProto> defaults;
    if (const auto* field = function.GetDescriptor()->FindFieldByNumber(11))
      for (const auto& message : function.GetReflection()->GetRepeatedFieldRef<google::protobuf::Message>(function, field)) {
        const auto& attribute = static_cast<const onnx::AttributeProto&>(message);
        defaults[attribute.name()] = attribute;
      }
    const auto& fields = function.unknown_fields();
    for (int i = 0; i < fields.field_count(); ++i) {
      if (fields.field(i).number() != 11 || fields.field(i).type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
      onnx::AttributeProto attribute;
      if (!attribute.ParsePartialFromString(fields.field(i).length_delimited()))
        throw std::runtime_error("libprotobuf does not parse a function's default attribute");
      defaults[attribute.name()] = attribute;
    }
    for (const auto& [name, attribute] : defaults) add(name, attribute, "  ");
    for (const auto& node : function.node()) add(node, "  ");
  }

  void add(const onnx::GraphProto& graph, const std::string& indent) {
    out << indent << "graph " << quoted(graph.name()) << "\n";
    for (const auto& info : graph.input()) out << indent << "input " << text(info) << "\n";
    for (const auto& info : graph.output()) out << indent << "output " << text(info) << "\n";
    std::string opaque;
    auto initializer = [&](const std::string& name, const std::string& contents) {
      if (contents.empty())
        opaque += indent + "opaque " + quoted(name) + "\n";
      else
        out << indent << "initializer " << quoted(name) << " " << contents << "\n";
    };
    // Our reader lists them in the file's order, which a parsed message does not keep between the two fields.
    for (const auto& tensor : graph.initializer()) initializer(tensor.name(), tensorText(tensor, path));
    for (const auto& tensor : graph.sparse_initializer()) initializer(tensor.values().name(), sparseText(tensor, path));
    out << opaque;
    for (const auto& node : graph.node()) add(node, indent);
  }

  void add(const onnx::NodeProto& node, const std::string& indent) {
    out << indent << "node " << node.op_type() << " " << quoted(canonical(node.domain())) << " "
        << quoted(newerString(node, 8)) << " " << quoted(node.name()) << " " << listed(node.input()) << " -> "
        << listed(node.output()) << "\n";
    std::map<std::string, const onnx::AttributeProto*> attributes;
    for (const auto& attribute : node.attribute()) {
      const bool isSparse = attribute.name() == "sparse_value" && node.op_type() == "Constant";
      attributes[isSparse ? "value" : attribute.name()] = &attribute;
    }
    for (const auto& [name, attribute] : attributes) add(name, *attribute, indent + "  ");
  }

  /// Files of early writers give no type: it follows from the one field that is there.
  static int kind(const onnx::AttributeProto& a) {
    using A = onnx::AttributeProto;
    if (a.has_type() && a.type() != A::UNDEFINED) return a.type();
    const auto& fields = a.unknown_fields();
    for (int i = 0; i < fields.field_count(); ++i)
      if (fields.field(i).number() == A::kTypeFieldNumber && fields.field(i).type() == UnknownField::TYPE_VARINT) return -1;
    if (a.has_f()) return A::FLOAT;
    if (a.has_i()) return A::INT;
    if (a.has_s()) return A::STRING;
    if (a.has_t()) return A::TENSOR;
    if (a.has_g()) return A::GRAPH;
    if (a.floats_size()) return A::FLOATS;
    if (a.ints_size()) return A::INTS;
    if (a.strings_size()) return A::STRINGS;
    if (a.tensors_size()) return A::TENSORS;
    if (a.graphs_size()) return A::GRAPHS;
    if (a.has_sparse_tensor()) return A::SPARSE_TENSOR;
    return A::UNDEFINED;
  }

  void add(const std::string& name, const onnx::AttributeProto& a, const std::string& indent) {
    using A = onnx::AttributeProto;
    out << indent << "attribute " << quoted(name) << " ";
    const std::string inner = indent + "  ";
    const int kind = this->kind(a);
    auto bytes = [](const std::string& s) { return hex(s); };
    auto tensor = [&](const std::string& name, const std::string& contents) {
      return contents.empty() ? "opaque" : "tensor " + quoted(name) + " " + contents;
    };
    if (!a.ref_attr_name().empty()) {
      out << "reference " << quoted(a.ref_attr_name()) << "\n";
    } else if (kind == A::INT) {
      out << "int " << a.i() << "\n";
    } else if (kind == A::FLOAT) {
      out << "float " << hex(a.f()) << "\n";
    } else if (kind == A::STRING) {
      out << "string " << hex(a.s()) << "\n";
    } else if (kind == A::INTS) {
      out << "ints [" << joined(a.ints(), ", ", [](int64_t i) { return std::to_string(i); }) << "]\n";
    } else if (kind == A::FLOATS) {
      out << "floats " << joined(a.floats(), " ", [](float f) { return hex(f); }) << "\n";
    } else if (kind == A::STRINGS) {
      out << "strings " << joined(a.strings(), " ", bytes) << "\n";
    } else if (kind == A::TENSOR) {
      out << tensor(a.t().name(), tensorText(a.t(), path)) << "\n";
    } else if (kind == A::SPARSE_TENSOR) {
      out << tensor(a.sparse_tensor().values().name(), sparseText(a.sparse_tensor(), path)) << "\n";
    } else if (kind == A::TENSORS) {
      std::string lines = "tensors\n";
      for (const auto& t : a.tensors()) {
        const std::string contents = tensorText(t, path);
        if (contents.empty()) {
          lines = "opaque\n";
          break;
        }
        lines += inner + quoted(t.name()) + " " + contents + "\n";
      }
      out << lines;
    } else if (kind == A::GRAPH) {
      out << "graph\n";
      add(a.g(), inner);
    } else if (kind == A::GRAPHS) {
      out << "graphs\n";
      for (const auto& graph : a.graphs()) add(graph, inner);
    } else {
      out << "opaque\n";
    }
  }

  static std::string text(const onnx::ValueInfoProto& info) {
    const std::string none = quoted(info.name()) + " none";
    if (!info.type().has_tensor_type()) return none;
    const auto& tensor = info.type().tensor_type();
    const std::string type = typeName(tensor.elem_type());
    if (type.empty()) return none;
    auto size = [](const onnx::TensorShapeProto::Dimension& d) -> std::string {
      if (d.has_dim_value() && d.dim_value() >= 0) return std::to_string(d.dim_value());
      return d.dim_param().empty() ? "?" : d.dim_param();
    };
    return quoted(info.name()) + " " + type + " " +
           (tensor.has_shape() ? "[" + joined(tensor.shape().dim(), ", ", size) + "]" : "none");
  }
};

}  // namespace

onnx::ModelProto read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open the file");
  onnx::ModelProto model;
  if (!model.ParsePartialFromIstream(&file)) throw std::runtime_error("libprotobuf does not parse the file");
  return model;
}

std::string dumped(const onnx::ModelProto& model, const std::string& path) {
  Dump dump(path);
  dump.add(model);
  return dump.out.str();
}
